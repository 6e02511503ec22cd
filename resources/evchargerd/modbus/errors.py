"""What can go wrong between us and a charger; str() of each is a French sentence for the Jeedom user."""

from __future__ import annotations

import errno
import os

#: MODBUS Application Protocol V1.1b3, section 7.
EXCEPTION_MEANINGS = {
    0x01: "fonction non prise en charge",
    0x02: "registre inexistant",
    0x03: "valeur ou quantité non admise",
    0x04: "panne de l'appareil pendant l'exécution",
    0x05: "demande reçue, traitement encore en cours",
    0x06: "appareil occupé, réessayer plus tard",
    0x08: "erreur de parité dans la mémoire de l'appareil",
    0x0A: "passerelle : chemin vers l'appareil indisponible",
    0x0B: "passerelle : l'appareil visé ne répond pas",
}

#: What the operating system says when a port is lost, in the words of the user.
PORT_REASONS = {
    errno.ENOENT: "il n'existe pas (adaptateur débranché ?)",
    errno.ENODEV: "l'adaptateur a disparu",
    errno.ENXIO: "l'adaptateur a disparu",
    errno.EIO: "l'adaptateur a disparu",
    errno.EBADF: "l'adaptateur a disparu",
    errno.EACCES: "accès refusé (droits sur le port)",
    errno.EPERM: "accès refusé (droits sur le port)",
    errno.EBUSY: "il est déjà utilisé par un autre programme",
    errno.EAGAIN: "il est déjà utilisé par un autre programme",
    errno.ENOTTY: "ce n'est pas un port série",
    errno.EISDIR: "ce n'est pas un port série",
    errno.EINVAL: "il refuse ces réglages (vitesse, parité, bits d'arrêt)",
    errno.ECONNREFUSED: "connexion refusée par la passerelle",
    errno.ECONNRESET: "connexion coupée par la passerelle",
    errno.EPIPE: "connexion coupée par la passerelle",
    errno.ENOBUFS: "il ne prend plus les octets (adaptateur bloqué ?)",
    errno.ETIMEDOUT: "la passerelle ne répond pas",
    errno.EHOSTUNREACH: "la passerelle est injoignable",
    errno.ENETUNREACH: "la passerelle est injoignable",
}


class ModbusError(Exception):
    """A transaction that did not end with the charger's own answer."""


class NoAnswer(ModbusError):
    """The unit stayed silent for the whole time-out."""

    def __init__(self, unit: int, port: str, timeout: float) -> None:
        super().__init__(f"L'adresse Modbus {unit} ne répond pas sur {port} (attente : {timeout:g} s)")


class BadAnswer(ModbusError):
    """Bytes came, but not the answer to the question."""

    def __init__(self, unit: int, port: str, why: str) -> None:
        super().__init__(f"Pas de réponse valable de l'adresse Modbus {unit} sur {port} : {why}")


class Refused(ModbusError):
    """The unit answered with a Modbus exception. `function` is the one asked, `code` the exception code."""

    def __init__(self, unit: int, function: int, code: int) -> None:
        self.function = function
        self.code = code
        meaning = EXCEPTION_MEANINGS.get(code, "raison inconnue")
        super().__init__(f"L'adresse Modbus {unit} refuse la demande (fonction {function}) : {meaning} (code {code})")


class PortLost(ModbusError):
    """The port cannot be opened, or vanished. `port` is its name, `reason` why, in French where it is a known case."""

    def __init__(self, port: str, reason: str) -> None:
        self.port = port
        self.reason = reason
        super().__init__(f"Le port {port} est indisponible : {reason}")


def port_reason(error: BaseException) -> str:
    """Why a port was lost, from whatever pyserial, termios or the operating system raised.

    `termios.error` is no OSError and carries its errno as first argument; where pyserial's error has no errno, the one
    that it came from may have.
    """
    number = getattr(error, "errno", None)
    if number is None and error.args and isinstance(error.args[0], int):
        number = error.args[0]
    if number is None and error.__context__ is not None:
        return port_reason(error.__context__)
    if number in PORT_REASONS:
        return PORT_REASONS[number]
    if isinstance(error, TimeoutError):
        return PORT_REASONS[errno.ETIMEDOUT]
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error) or type(error).__name__
