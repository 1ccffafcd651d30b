"""Commands that tell workers what to do."""
