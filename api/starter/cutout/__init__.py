"""starter-cutout: drawings with the mask of their subject, and the network that finds it.            [training: torch]"""
