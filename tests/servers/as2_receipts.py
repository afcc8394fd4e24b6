"""MDNs that the AS2 partner on pyas2lib posts to the URL that a message asked for (RFC 4130, 7.2: asynchronous)."""

import http.client
import json
import ssl
import threading
import time
import urllib.parse

PAUSE = 0.2  # seconds between two tries
PATIENCE = 30  # seconds for one


class Receipts:
    """What is to be posted, and `mdns.jsonl`: a line for each POST."""

    def __init__(self, record):
        self.record = record
        self.lock = threading.Lock()
        self.held = []

    def held_now(self):
        with self.lock:
            return len(self.held)

    def hold(self, posts):
        with self.lock:
            self.held += posts

    def release(self):
        """Posts what was held, and returns when that is done."""
        with self.lock:
            posts, self.held = self.held, []
        self.post(posts, 0)

    def post_beside(self, posts, retry):
        """Posts while the connection that asked for it goes on."""
        threading.Thread(target=self.post, args=(posts, retry), daemon=True).start()

    def post(self, posts, retry):
        """Posts in order; what is not accepted again for so many seconds."""
        for message_id, url, headers, body in posts:
            until = time.monotonic() + retry
            while not self.accepted(message_id, url, headers, body) and time.monotonic() < until:
                time.sleep(PAUSE)

    def accepted(self, message_id, url, headers, body):
        status, answer, error = None, b"", None
        try:
            status, answer = send(url, headers, body)
        except (OSError, http.client.HTTPException, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        line = json.dumps({"at": time.time(), "message_id": message_id, "url": url, "http_status": status,
                           "answer": answer.decode("latin-1"), "error": error}) + "\n"
        with self.lock, open(self.record, "a", encoding="utf-8") as out:
            out.write(line)
        return status is not None and 200 <= status < 300


def send(url, headers, body):
    to = urllib.parse.urlsplit(url)
    if to.scheme == "https":  # whose certificate it is does not matter here
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(to.hostname, to.port, timeout=PATIENCE, context=context)
    elif to.scheme == "http":
        connection = http.client.HTTPConnection(to.hostname, to.port, timeout=PATIENCE)
    else:
        raise ValueError(f"cannot post an MDN to {url}")
    try:
        target = (to.path or "/") + (f"?{to.query}" if to.query else "")
        connection.putrequest("POST", target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
