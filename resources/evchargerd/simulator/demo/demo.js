'use strict'
// The demo page: a stand-in for what the plugin's widgets use of Jeedom's JavaScript, then the page around them.

// ---- Jeedom's core, as far as a widget can see it ----

const jeedom = { cmd: { update: [] } }

jeedom.cmd.addUpdateFunction = function(_id, _function) {
  const known = jeedom.cmd.update[_id] ??= []
  // Like the core: a function whose source text is already there is not added.
  if (!known.some(function(other) { return other.toString() == _function.toString() })) known.push(_function)
}

jeedom.cmd.refreshValue = function(_updates) {
  for (const update of _updates) {
    for (const show of jeedom.cmd.update[update.cmd_id] ?? []) show(update)
  }
}

jeedom.cmd.execute = async function(_params) {
  const { charger, command } = commands[_params.id]
  const tile = document.querySelector('.eqLogic[data-eqLogic_id="' + charger.id + '"]')
  tile.setAttribute('aria-busy', 'true')
  const value = _params.value && Object.values(_params.value)[0] // {slider: 16} or {select: '3'}
  const answer = await post('action', { charger: charger.id, logicalId: command.logicalId, value: value ?? null })
  tile.removeAttribute('aria-busy')
  if (!answer.ok) toast(charger.name + ' : ' + answer.error)
  _params.complete?.()
  return answer.ok
}

function setTheme(_theme) {
  document.body.setAttribute('data-theme', 'core2019_' + _theme)
  document.body.dispatchEvent(new CustomEvent('changeThemeEvent', { detail: { theme: _theme } }))
}

// ---- The page ----

const TEXTS = {
  fr_FR: {
    demo: 'démo', intro: 'Les widgets du plugin, alimentés par le démon et des chargeurs simulés.',
    language: 'Langue', version: 'Affichage', theme: 'Thème', light: 'Clair', dark: 'Sombre', icons: 'Icônes',
    color: 'Couleurs', bw: 'Noir et blanc', vehicle: 'Véhicule', compact: 'Compacte', berline: 'Berline', picture: 'Image',
    text: 'Texte', car: 'La voiture', plug: 'Brancher', charge: 'Charger', finish: 'Charge terminée', fault: 'Défaut',
    unplug: 'Débrancher', yes: 'Oui', no: 'Non', online: 'En ligne', offline: 'Ne répond pas', choose: 'Choisir…',
    lost: 'La démo ne répond plus.'
  },
  en_US: {
    demo: 'demo', intro: 'The plugin\'s widgets, fed by the daemon and simulated chargers.',
    language: 'Language', version: 'View', theme: 'Theme', light: 'Light', dark: 'Dark', icons: 'Icons',
    color: 'Coloured', bw: 'Black and white', vehicle: 'Vehicle', compact: 'Compact', berline: 'Saloon', picture: 'Picture',
    text: 'Text', car: 'The car', plug: 'Plug in', charge: 'Charge', finish: 'Charge finished', fault: 'Fault',
    unplug: 'Unplug', yes: 'Yes', no: 'No', online: 'Online', offline: 'Does not answer', choose: 'Choose…',
    lost: 'The demo does not answer any more.'
  }
}
const PLAYS = ['plug', 'charge', 'finish', 'fault', 'unplug']

const form = document.getElementById('settings')
const values = {} // by charger id, by logicalId: the last value of each info
let commands = {} // by command id: { charger, command }
let drawing = 0 // counts the drawings of the tiles: the answer to an older request is not drawn

function language() { return form.language.value }
function t(_key) { return TEXTS[language()][_key] }

async function post(_path, _body) {
  try {
    const response = await fetch(_path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Token': document.querySelector('meta[name=token]').content },
      body: JSON.stringify(_body)
    })
    return response.ok ? await response.json() : { ok: false, error: response.status + ' ' + response.statusText }
  } catch {
    return { ok: false, error: t('lost') }
  }
}

function toast(_message) {
  const line = element('div', { class: 'toast' }, _message)
  document.getElementById('toasts').append(line)
  setTimeout(function() { line.remove() }, 8000)
}

function element(_tag, _attributes, ..._children) {
  const made = document.createElement(_tag)
  for (const [name, value] of Object.entries(_attributes)) made.setAttribute(name, value)
  made.append(..._children)
  return made
}

async function drawTiles() {
  const mine = ++drawing
  const query = new URLSearchParams({ version: form.version.value, language: language(), vehicle: form.vehicle.value })
  if (!form.picture.checked) query.set('picture', '0')
  if (!form.text.checked) query.set('text', '0')
  const page = await (await fetch('tiles?' + query)).json()
  if (mine != drawing) return

  document.documentElement.lang = language().slice(0, 2)
  document.body.dataset.version = form.version.value
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = t(node.dataset.text)
  jeedom.cmd.update = []
  commands = {}
  for (const charger of page.chargers) {
    for (const command of charger.commands) commands[command.id] = { charger, command }
  }
  document.querySelector('main').replaceChildren(...page.chargers.map(function(charger) { return tile(charger, page.sections) }))
  runScripts(document.querySelector('main'))
  for (const [id, known] of Object.entries(values)) refresh(id, known)
}

// A script that came in by innerHTML does not run; one that is made does.
function runScripts(_inside) {
  for (const script of _inside.querySelectorAll('script')) script.replaceWith(element('script', {}, script.textContent))
}

function tile(_charger, _sections) {
  const refreshing = _charger.commands.find(function(command) { return command.logicalId == 'refresh' })
  const kind = _charger.commands.some(function(command) { return command.logicalId == 'cable_lock' }) ? 'socket' : 'cable'
  const head = element('div', { class: 'widget-name' },
    element('img', { src: 'plugins/EVcharger/desktop/img/charger_' + kind + '.png', alt: '', height: 48 }),
    element('div', {}, element('h2', {}, _charger.name), element('small', {}, _charger.model)),
    element('span', { class: 'online' }))
  if (refreshing) head.append(actionButton(refreshing, '↻', { class: 'refresh', 'aria-label': refreshing.name }))
  const made = element('article', { class: 'eqLogic eqLogic-widget', 'data-eqLogic_id': _charger.id }, head,
    element('h3', {}, t('car')), car(_charger))
  for (const [section, title] of Object.entries(_sections)) {
    const inside = _charger.commands.filter(function(command) { return command.section == section && command != refreshing })
    if (inside.length) made.append(element('h3', {}, title), element('div', { class: 'cmds' }, ...inside.map(widget)))
  }
  return made
}

function car(_charger) {
  const buttons = PLAYS.map(function(what) {
    const button = element('button', { type: 'button', 'data-play': what }, t(what))
    button.addEventListener('click', async function() {
      button.disabled = true
      const answer = await post('play', { charger: _charger.id, what: what })
      button.disabled = false
      if (!answer.ok) toast(answer.error)
    })
    return button
  })
  return element('div', { class: 'car', role: 'group', 'aria-label': t('car') }, ...buttons)
}

// ---- The widgets of the commands: the plugin's own, or a plain one in place of the core's ----

function widget(_command) {
  if (_command.html) {
    const template = document.createElement('template')
    template.innerHTML = _command.html
    return template.content.firstElementChild
  }
  const inside = _command.type == 'info' ? infoValue(_command) : actionControl(_command)
  const named = _command.subType == 'other' ? [] : [element('div', { class: 'title' }, element('div', { class: 'cmdName' }, _command.name))]
  return element('div', { class: 'cmd cmd-widget', 'data-cmd_id': _command.id, 'data-type': _command.type, 'data-subtype': _command.subType,
    title: _command.description }, ...named, element('div', { class: 'content' }, inside))
}

function infoValue(_command) {
  const shown = element('span', { class: 'value' }, '–')
  jeedom.cmd.addUpdateFunction(_command.id, own(function(update) { shown.textContent = formatted(_command, update.value) }))
  return shown
}

function actionControl(_command) {
  if (_command.subType == 'slider') return slider(_command)
  if (_command.subType == 'select') return select(_command)
  return actionButton(_command, _command.name, {})
}

function actionButton(_command, _label, _attributes) {
  const button = element('button', { type: 'button', title: _command.description, ..._attributes }, _label)
  button.addEventListener('click', async function() {
    button.disabled = true
    await jeedom.cmd.execute({ id: _command.id })
    button.disabled = false
  })
  return button
}

function slider(_command) {
  const range = element('input', { type: 'range', min: _command.min, max: _command.max, step: _command.step, 'aria-label': _command.name })
  const output = element('output', {})
  let shown = _command.min
  function show(value) {
    range.value = shown = value
    output.textContent = number(value) + ' ' + _command.unit
  }
  range.addEventListener('input', function() { output.textContent = number(range.value) + ' ' + _command.unit })
  range.addEventListener('change', async function() {
    if (!await jeedom.cmd.execute({ id: _command.id, value: { slider: Number(range.value) } })) show(shown)
  })
  jeedom.cmd.addUpdateFunction(_command.id, own(function(update) { show(update.value) }))
  show(_command.min)
  return element('div', { class: 'slider' }, range, output)
}

function select(_command) {
  const list = element('select', { 'aria-label': _command.name }, element('option', { value: '' }, t('choose')),
    ..._command.values.map(function(value) { return element('option', { value: value.value }, value.text) }))
  let shown = ''
  list.addEventListener('change', async function() {
    if (!await jeedom.cmd.execute({ id: _command.id, value: { select: Number(list.value) } })) list.value = shown
  })
  jeedom.cmd.addUpdateFunction(_command.id, own(function(update) { list.value = shown = update.value }))
  return list
}

// The page's own update functions share their source text, which addUpdateFunction takes for being the same one.
function own(_function) {
  const id = Math.random()
  _function.toString = function() { return id }
  return _function
}

function number(_value) {
  return Number(_value).toLocaleString(language().replace('_', '-'), { maximumFractionDigits: 2 })
}

function formatted(_command, _value) {
  if (_value === null || _value === '') return '–'
  if (_command.subType == 'binary') return t(Number(_value) ? 'yes' : 'no')
  if (_command.subType == 'string') return String(_value)
  if (_command.unit == 's') return Math.floor(_value / 3600) + ' h ' + String(Math.floor(_value / 60) % 60).padStart(2, '0') + ' min'
  if (_command.unit == 'W' && Math.abs(_value) >= 1000) return number(_value / 1000) + ' kW'
  return number(_value) + (_command.unit ? ' ' + _command.unit : '')
}

// ---- Live values ----

function refresh(_charger, _values) {
  const updates = []
  for (const [id, { charger, command }] of Object.entries(commands)) {
    const shown = command.type == 'info' ? command.logicalId : command.linkedInfo // an action shows the info linked to it
    if (charger.id == _charger && shown in _values) {
      updates.push({ cmd_id: id, value: _values[shown], display_value: _values[shown], unit: command.unit })
    }
  }
  jeedom.cmd.refreshValue(updates)
  if ('online' in _values) {
    const online = Boolean(Number(_values.online))
    const badge = document.querySelector('.eqLogic[data-eqLogic_id="' + _charger + '"] .online')
    if (badge) {
      badge.textContent = t(online ? 'online' : 'offline')
      badge.classList.toggle('off', !online)
    }
  }
}

function listen() {
  const events = new EventSource('events')
  events.onmessage = function(_message) {
    for (const [charger, changed] of Object.entries(JSON.parse(_message.data))) {
      values[charger] = { ...values[charger], ...changed }
      refresh(charger, changed)
    }
  }
  events.onopen = function() { document.body.classList.remove('lost') }
  events.onerror = function() { document.body.classList.add('lost') }
}

form.addEventListener('change', function(_event) {
  if (_event.target.name == 'theme') setTheme(form.theme.value)
  else if (_event.target.name == 'icons') document.body.setAttribute('data-coloredIcons', form.icons.value)
  else drawTiles()
})

form.reset() // some browsers keep the choices over a reload
if (!navigator.language.startsWith('fr')) form.language.value = 'en_US'
if (matchMedia('(prefers-color-scheme: dark)').matches) form.theme.value = 'Dark'
setTheme(form.theme.value)
drawTiles().then(listen)
