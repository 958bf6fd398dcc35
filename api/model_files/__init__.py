"""What the header of a safetensors file tells about it, without its weights. No torch, no Django."""
