"""For tools that ask for a WSGI application. Darkroom serves ASGI (config/asgi.py): under WSGI a stream is buffered to its end."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()
