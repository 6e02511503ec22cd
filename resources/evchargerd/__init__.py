"""EVcharger: reads wallboxes over Modbus, publishes their values to Jeedom and carries out its actions."""

__version__ = "0.1.0"
