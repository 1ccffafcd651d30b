"""How things look: values with their units, tables that fit a terminal, and the screen of `zq status`. Pure: text in,
text out; what is printed is printed by `zq.cli.output`.
"""
