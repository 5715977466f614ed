"""Offline stand-ins for the world: the Zooniverse stand-in, the volunteers and the synthetic sky."""
