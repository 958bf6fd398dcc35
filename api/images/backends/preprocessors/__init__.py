"""From a picture to a control map for a ControlNet, without weights."""
