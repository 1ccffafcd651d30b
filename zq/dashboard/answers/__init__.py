"""What the interface answers: an endpoint for each address, and what they share."""
