# make demo: a simulated charger line, the daemon and a local page. make test: everything that can be tested here.
# Both set themselves up: a .venv, and with root or sudo the Debian packages that the tests need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# What the tests need beside Python; without the right to install them, what needs them is skipped and says so.
APT_TEST := php-cli phpunit chromium libmodbus5 ser2net librsvg2-bin openssl procps zip
PLUGIN_DIRS := core desktop docs/fr_FR docs/en_US plugin_info resources/evcharger resources/evchargerd \
	data/.htaccess data/README.md LICENSE

.PHONY: help demo test lint bench soak package images docs clean
help:
	@sed -n '1,2s/^# //p' Makefile
	@echo "Other targets: lint bench soak package images docs clean"

# --- Set-up -----------------------------------------------------------------------------------------------------------

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@echo "Setting up $(VENV) (once; downloads the Python packages)"
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { $(call apt,python3-venv) && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# apt(packages): installs what is missing where we may; tells what is missing where we may not.
define apt
	missing=""; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q "ok installed" || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then root=""; elif sudo -n true 2>/dev/null; then root="sudo -n"; else root="no"; fi; \
		if [ "$$root" = no ]; then echo "NOT INSTALLED (neither root nor sudo):$$missing; what needs them will be skipped"; \
		else echo "Installing Debian packages:$$missing"; \
			$$root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi; \
	fi
endef

.PHONY: test-packages
test-packages:
	@$(call apt,$(APT_TEST))

# --- What one does here -------------------------------------------------------------------------------------------------

demo: $(VENV)/ready
	@resources/evcharger demo $(DEMO)

test: test-packages $(VENV)/ready
	@$(BIN)/pytest $(PYTEST)

lint: test-packages $(VENV)/ready
	@$(BIN)/ruff check resources tests desktop/img/svg docs
	@$(BIN)/ruff format --check resources tests desktop/img/svg docs
	@$(BIN)/mypy
	@if command -v php >/dev/null; then find core desktop plugin_info tests -name '*.php' -print0 | xargs -0 -r -n1 php -l | grep -v '^No syntax errors' && exit 1 || echo "php -l: no errors"; else echo "SKIPPED php -l: no php"; fi
	@$(BIN)/python tests/check_schemas.py

$(VENV)/bench-ready: $(VENV)/ready
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

bench: $(VENV)/bench-ready
	@$(call apt,libmodbus5)
	@PYTHONPATH=resources:tests $(BIN)/python -m bench $(BENCH)

MINUTES ?= 60
soak: $(VENV)/ready
	@PYTHONPATH=resources:tests $(BIN)/python -m bench.soak --minutes $(MINUTES)

images:
	@$(PYTHON) desktop/img/svg/render.py

docs: $(VENV)/ready
	@PYTHONPATH=resources $(BIN)/python docs/generate.py

package: $(VENV)/ready
	@mkdir -p build && rm -f build/EVcharger-$(VERSION).zip
	@$(BIN)/python tests/package.py build/EVcharger-$(VERSION).zip $(PLUGIN_DIRS)
	@echo "build/EVcharger-$(VERSION).zip"

clean:
	rm -rf build $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
