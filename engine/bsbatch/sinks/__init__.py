"""Where executed units go."""
