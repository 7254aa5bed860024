"""Serve a Lambda handler at a URL as AWS does: each request becomes an event of payload format 2.0."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lambda_worker import handler


class Invocation(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        event = {
            "version": "2.0",
            "rawPath": self.path,
            "rawQueryString": "",
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "requestContext": {"http": {"method": "POST", "path": self.path}},
            "body": body,
            "isBase64Encoded": False,
        }
        reply = handler(event, None)
        print(f"replied {reply['statusCode']} {reply['body']}", flush=True)
        content = reply["body"].encode()
        self.send_response(reply["statusCode"])
        for name, value in reply["headers"].items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing. Only replies are printed."""


with ThreadingHTTPServer(("localhost", int(sys.argv[1])), Invocation) as server:
    print("ready", flush=True)
    server.serve_forever()
