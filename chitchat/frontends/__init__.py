"""Ways for people to talk to the bot."""
