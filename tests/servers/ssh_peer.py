#!/usr/bin/env python3
"""An SFTP server on asyncssh or paramiko: ssh_peer.py asyncssh|paramiko PORT DIR. Started by ssh.sh.

Independent of OpenSSH on purpose: extensions, status codes and the shape of paths are theirs. Both serve DIR/files as their
root to the user `acme`.
"""

import os
import pathlib
import sys

USER = "acme"

kind, port, directory = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
root = str(directory / "files")
password = (directory / "password").read_text().strip()
host_key = str(directory / "keys" / "host_ed25519")
os.umask(0o022)


def serve_asyncssh():
    import asyncio
    import asyncssh

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username):
            return True

        def password_auth_supported(self):
            return True

        def validate_password(self, username, given):
            return username == USER and given == password

    def files(channel):
        return asyncssh.SFTPServer(channel, chroot=root.encode())

    async def main():
        await asyncssh.listen("127.0.0.1", port, server_factory=Login, server_host_keys=[host_key], sftp_factory=files)
        await asyncio.Event().wait()

    asyncio.run(main())


def serve_paramiko():
    import socket
    import threading
    import paramiko

    class Login(paramiko.ServerInterface):
        def check_auth_password(self, username, given):
            right = username == USER and given == password
            return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

        def check_channel_request(self, kind, channel):
            return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

        def get_allowed_auths(self, username):
            return "password"

    class File(paramiko.SFTPHandle):
        def stat(self):
            try:
                return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno)

        def chattr(self, attributes):
            return change(self.path, attributes)

    def change(path, attributes):
        try:
            paramiko.SFTPServer.set_file_attr(path, attributes)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return paramiko.SFTP_OK

    def carried_out(act):
        try:
            act()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return paramiko.SFTP_OK

    class Files(paramiko.SFTPServerInterface):
        def at(self, path):
            return root + self.canonicalize(path)

        def list_folder(self, path):
            path = self.at(path)
            try:
                entries = []
                for name in os.listdir(path):
                    attributes = paramiko.SFTPAttributes.from_stat(os.lstat(os.path.join(path, name)))
                    attributes.filename = name
                    entries.append(attributes)
                return entries
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno)

        def stat(self, path):
            try:
                return paramiko.SFTPAttributes.from_stat(os.stat(self.at(path)))
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno)

        def lstat(self, path):
            try:
                return paramiko.SFTPAttributes.from_stat(os.lstat(self.at(path)))
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno)

        def open(self, path, flags, attributes):
            path = self.at(path)
            try:
                opened = os.open(path, flags, getattr(attributes, "st_mode", None) or 0o666)
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno)
            mode = "r+b" if flags & os.O_RDWR else "wb" if flags & os.O_WRONLY else "rb"
            if mode == "wb":
                file = os.fdopen(opened, "wb", buffering=0)
            else:
                file = os.fdopen(opened, mode, buffering=0)
            handle = File(flags)
            handle.path, handle.filename, handle.readfile, handle.writefile = path, path, file, file
            return handle

        def remove(self, path):
            return carried_out(lambda: os.remove(self.at(path)))

        def rename(self, old, new):
            if os.path.lexists(self.at(new)):
                return paramiko.SFTP_FAILURE
            return carried_out(lambda: os.rename(self.at(old), self.at(new)))

        def posix_rename(self, old, new):
            return carried_out(lambda: os.replace(self.at(old), self.at(new)))

        def mkdir(self, path, attributes):
            return carried_out(lambda: os.mkdir(self.at(path)))

        def rmdir(self, path):
            return carried_out(lambda: os.rmdir(self.at(path)))

        def chattr(self, path, attributes):
            return change(self.at(path), attributes)

    key = paramiko.Ed25519Key(filename=host_key)

    def serve(connection):
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
        try:
            transport.start_server(server=Login())
        except (paramiko.SSHException, EOFError, OSError):
            pass  # whoever looked whether we answer is gone

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(100)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if kind == "asyncssh":
    serve_asyncssh()
else:
    serve_paramiko()
