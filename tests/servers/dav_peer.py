#!/usr/bin/env python3
"""A WebDAV server of wsgidav: dav_peer.py PORT DIR USER PASSWORD. Started by dav.sh."""

import pathlib
import sys

from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp

port, directory, user, password = int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]

app = WsgiDAVApp(
    {
        "host": "127.0.0.1",
        "port": port,
        "provider_mapping": {"/": str(directory / "files")},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
        "simple_dc": {"user_mapping": {"*": {user: {"password": password}}}},
        "lock_storage": True,
        "property_manager": None,
        "dir_browser": {"enable": False},
        "logging": {"enable": False},
        "verbose": 1,
    }
)
server = wsgi.Server(bind_addr=("127.0.0.1", port), wsgi_app=app, numthreads=16)
try:
    server.prepare()
except OSError as error:
    raise SystemExit(str(error))
server.serve()
