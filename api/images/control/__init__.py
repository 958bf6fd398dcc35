"""Pictures steered by control maps (ControlNet), and the maps themselves."""
