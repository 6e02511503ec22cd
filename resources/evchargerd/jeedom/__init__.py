"""The daemon's two doors to Jeedom: `listener` (actions come in) and `publisher` (values go out)."""
