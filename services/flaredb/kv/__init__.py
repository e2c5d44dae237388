"""The state machine of one region: committed commands in, rows, sessions, events and answers out.

A pure core: no I/O, no clock, no chance. Every replica that applies the same entries to the same
rows ends with the same bytes.
"""
