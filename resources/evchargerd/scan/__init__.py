"""What hangs on a line: ports, then settings and units, then models. It never writes, and says how far it is."""
