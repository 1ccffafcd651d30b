"""What was typed, as a command: finding it, reading its values, helping with it, completing it. Loads of the commands
only the one that is asked for.
"""
