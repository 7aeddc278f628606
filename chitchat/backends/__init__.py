"""What can write or score a reply."""
