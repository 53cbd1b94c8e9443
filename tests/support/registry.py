"""An image registry (OCI distribution protocol) that misbehaves on demand. Standard library only, `openssl` for certificates.

    with Registry() as registry:                     # plain HTTP on 127.0.0.1
        registry.push("team/app", image, "1")        # make_oci_image.Image
        registry.on("/blobs/", cut_once(after=1000)) # a misbehaviour: f(handler) -> True when it answered
        registry.name                                # "127.0.0.1:PORT"
        registry.requests                            # [(method, path, headers)]

`Registry(tls=Certificates(directory))` speaks TLS, `auth="basic"` and `auth="token"` want USER and PASSWORD.
"""

import base64
import contextlib
import hashlib
import http.client
import http.server
import ipaddress
import json
import pathlib
import socket
import ssl
import subprocess
import threading
import urllib.parse

USER, PASSWORD = "someone", "a:pass word"
MANIFEST_V1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def outside_address():
    """An address of this machine that is not loopback, or None."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))  # sends nothing
        address = probe.getsockname()[0]
        return None if ipaddress.ip_address(address).is_loopback else address
    return None


class Certificates:
    """An authority and a server's certificate in `directory`. client: one for clients, too, which the server then wants."""

    def __init__(self, directory, names=("127.0.0.1",), expired=False, client=False):
        d = pathlib.Path(directory)
        d.mkdir(parents=True, exist_ok=True)
        self.ca, self.certificate, self.key = d / "ca.pem", d / "server.pem", d / "server.key"
        san = ",".join(("IP:" if _is_address(n) else "DNS:") + n for n in names)
        (d / "extensions").write_text(f"subjectAltName={san}\nbasicConstraints=CA:FALSE\n")
        (d / "ca.conf").write_text(f"[ca]\ndefault_ca=x\n[x]\ndatabase={d}/index\nserial={d}/serial\nnew_certs_dir={d}\ndefault_md=sha256\npolicy=p\n"
                                   "[p]\ncommonName=supplied\n")
        (d / "index").write_text("")
        (d / "serial").write_text("01")
        openssl = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True)  # noqa: E731
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *curve, "-keyout", str(d / "ca.key"), "-out", str(self.ca), "-subj", "/CN=test authority", "-days", "30")
        dates = ("-startdate", "200101000000Z", "-enddate", "200201000000Z") if expired else ("-days", "30")

        def sign(name, certificate, key, *more):
            openssl("req", *curve, "-keyout", str(key), "-out", str(d / "request.csr"), "-subj", f"/CN={name}")
            openssl("ca", "-batch", "-config", str(d / "ca.conf"), "-cert", str(self.ca), "-keyfile", str(d / "ca.key"), "-in", str(d / "request.csr"),
                    "-out", str(certificate), "-notext", *more)
        sign("server", self.certificate, self.key, "-extfile", str(d / "extensions"), *dates)
        self.wants_client = client
        if client:
            self.client_certificate, self.client_key = d / "client.pem", d / "client.key"
            sign("client", self.client_certificate, self.client_key, "-days", "30")

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if self.wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


def _is_address(text):
    try:
        ipaddress.ip_address(text)
        return True
    except ValueError:
        return False


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that leaves is what these tests are about


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry = None

    def log_message(self, *args):
        pass

    # Plain words for misbehaviours.
    def answer(self, status, body=b"", headers=(), length=None):
        self.send_response(status)
        names = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in names and length is not False:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)
        return True

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        return True

    def do_GET(self):
        registry = self.registry
        with registry.lock:
            registry.requests.append((self.command, self.path, dict(self.headers)))
            misbehaviours = list(registry.misbehaviours)
        for part, act in misbehaviours:
            if part in self.path and act(self):
                return
        path = urllib.parse.urlsplit(self.path).path
        if path == "/token":
            return self.token()
        if not self.allowed(path):
            return
        self.content(path)

    do_HEAD = do_POST = do_GET

    def token(self):
        given = self.headers.get("Authorization", "")
        if given != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            return self.answer(401, b"{}")
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        scope = query.get("scope", [""])[0]
        self.answer(200, json.dumps({"token": "token-for-" + scope, "expires_in": 300}).encode())

    def allowed(self, path):
        registry = self.registry
        given = self.headers.get("Authorization", "")
        repository = path.split("/v2/", 1)[-1].rsplit("/", 2)[0]
        if registry.auth == "basic" and given != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            self.answer(401, b"{}", [("WWW-Authenticate", 'Basic realm="test"')])
            return False
        if registry.auth == "token" and given != f"Bearer token-for-repository:{repository}:pull":
            realm = f"{registry.url}/token"
            self.answer(401, b"{}", [("WWW-Authenticate", f'Bearer realm="{realm}",service="test",scope="repository:{repository}:pull"')])
            return False
        return True

    def content(self, path):
        registry = self.registry
        repository, kind, reference = path.split("/v2/", 1)[-1].rsplit("/", 2) if path.count("/") >= 4 else ("", "", "")
        if kind == "manifests" and (repository, reference) in registry.manifests:
            body, media_type = registry.manifests[(repository, reference)]
            return self.answer(200, body, [("Content-Type", media_type), ("Docker-Content-Digest", digest(body))])
        if kind == "blobs" and reference in registry.blobs:
            return self.blob(registry.blobs[reference])
        return self.answer(404, json.dumps({"errors": [{"code": "UNKNOWN", "message": f"{kind or 'path'} unknown"}]}).encode())

    def blob(self, body):
        asked = self.headers.get("Range")
        if asked and asked.startswith("bytes=") and asked.endswith("-"):
            first = int(asked[6:-1])
            if first >= len(body):
                return self.answer(416)
            return self.answer(206, body[first:], [("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")])
        return self.answer(200, body)


class _ProxyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy = None

    def log_message(self, *args):
        pass

    def do_GET(self):
        """A request with a whole address."""
        parts = urllib.parse.urlsplit(self.path)
        self.proxy.requests.append((self.command, parts.netloc, dict(self.headers)))
        there = http.client.HTTPConnection(self.proxy.routes[parts.netloc], timeout=20)
        there.request("GET", parts.path + ("?" + parts.query if parts.query else ""), headers={k: v for k, v in self.headers.items() if not k.startswith("Proxy-")})
        answer = there.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        there.close()

    def do_CONNECT(self):
        self.proxy.requests.append((self.command, self.path, dict(self.headers)))
        host, port = self.proxy.routes[self.path].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=20) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
            back.start()
            _pump(self.connection, there)
            back.join()
        self.close_connection = True


def _pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Proxy:
    """routes: where each "host:port" that may be asked for really is."""

    def __init__(self, routes):
        self.routes, self.requests = routes, []
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_ProxyHandler,), {"proxy": self}))
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Registry:
    def __init__(self, address="127.0.0.1", tls=None, auth=None):
        self.blobs, self.manifests, self.requests, self.misbehaviours = {}, {}, [], []
        self.auth, self.lock = auth, threading.Lock()
        handler = type("Handler", (_Handler,), {"registry": self})
        self.server = _Server((address, 0), handler)
        if tls is not None:
            self.server.socket = tls.context().wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.name = f"{address}:{self.port}"
        self.url = ("https://" if tls else "http://") + self.name
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def push(self, repository, image, tag="latest", media_type="application/vnd.oci.image.manifest.v1+json"):
        """Returns the reference by which it is pulled."""
        self.blobs.update(image.blobs)
        return self.put_manifest(repository, image.manifest, tag, media_type)

    def put_manifest(self, repository, body, tag="latest", media_type="application/vnd.oci.image.manifest.v1+json"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        for reference in (tag, digest(body)):
            self.manifests[(repository, reference)] = (body, media_type)
        return f"{self.name}/{repository}:{tag}"

    def on(self, part, act):
        """act(handler) -> True: it has answered. For requests whose path holds `part`; the latest first."""
        with self.lock:
            self.misbehaviours.insert(0, (part, act))

    def behave(self):
        with self.lock:
            self.misbehaviours.clear()
            self.requests.clear()

    def asked(self, part):
        with self.lock:
            return [request for request in self.requests if part in request[1]]


def times(count, act):
    """`act` for the first `count` requests only."""
    left, lock = [count], threading.Lock()

    def limited(handler):
        with lock:
            if left[0] == 0:
                return False
            left[0] -= 1
        return act(handler)
    return limited
