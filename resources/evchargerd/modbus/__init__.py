"""Modbus over a serial line, as MODBUS over Serial Line V1.02 and the Application Protocol V1.1b3 say it.

`frame` knows what a question and its answer look like, `line` asks one question at a time on a `port`, `errors` says
what went wrong. What the layer promises: a value that it returns was sent by the charger for that very question.
"""
