#!/usr/bin/env python3
"""An FTP server of pyftpdlib: ftp_peer.py PORT DIR ACCOUNT [explicit]. Started by ftp.sh."""

import logging
import os
import pathlib
import pwd
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

port, directory, account = int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
tls = len(sys.argv) > 4 and sys.argv[4] == "explicit"

logging.basicConfig(filename=directory / "own" / "system.log", level=logging.INFO)
authorizer = DummyAuthorizer()
password = (directory / "password").read_text().strip()
authorizer.add_user("acme", password, str(directory / "root"), perm="elradfmwMT")

handler = TLS_FTPHandler if tls else FTPHandler
handler.authorizer = authorizer
handler.banner = "ready"
handler.auth_failed_timeout = 0
if tls:
    both = directory / "keys" / "both.pem"
    both.write_bytes((directory / "keys/server.key").read_bytes() + (directory / "keys/server.pem").read_bytes())
    handler.certfile = str(both)
    handler.tls_control_required = True
    handler.tls_data_required = True

server = FTPServer(("127.0.0.1", port), handler)
server.max_cons = 200
if os.geteuid() == 0:
    entry = pwd.getpwnam(account)
    if tls:
        handler.get_ssl_context()  # reads the key, which the account may not
    os.chown(directory / "own" / "system.log", entry.pw_uid, entry.pw_gid)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
os.umask(0o022)
server.serve_forever(handle_exit=False)
