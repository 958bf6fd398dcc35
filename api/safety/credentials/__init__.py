"""Content Credentials (C2PA): what a picture's file says of its origin, signed with the owner's certificate."""
