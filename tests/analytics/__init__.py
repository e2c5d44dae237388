"""Analytics: rows in, answers out; what may not be asked; files, streams and servers that break."""
