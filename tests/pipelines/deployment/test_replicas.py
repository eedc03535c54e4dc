"""Servers of one name: each of them is asked, and a change holds once all follow."""

import datetime
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.deployment.live import answering_release
from pipelines.deployment.replicas import addresses, ask
from pipelines.errors import InputError, TryAgain
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.pipelines.deployment.conftest import FakeServer

NAME = "servers.test"


@pytest.fixture
def resolved(monkeypatch):
    """What NAME resolves to; anything else is resolved as always."""
    found, real = ["127.0.0.1", "127.0.0.2", "::1"], socket.getaddrinfo

    def resolve(host, port, *how, **named):
        if host not in (NAME, NAME.encode()):
            return real(host, port, *how, **named)
        return [answer for address in found for answer in real(address, port, *how, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return found


@pytest.fixture
def second(server, resolved, monkeypatch):
    """The second of two servers of one name and port."""
    port = server.http.server_port
    fake = FakeServer("127.0.0.2", port)
    monkeypatch.setenv("RATCHET_SERVER_URL", f"http://{NAME}:{port}")
    yield fake
    fake.http.shutdown()
    fake.http.server_close()


def stuck(server, entries):
    """The server reads no entry after these."""
    server.serves, server.first = False, Journal(open_store()).until(entries)


def test_a_rollback_is_not_done_while_a_replica_serves_the_challenger(releases, second):
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    stuck(second, 4)
    with pytest.raises(TryAgain, match=rf"server 127\.0\.0\.2 that serves {releases.b} after"):
        call("rollback", wait_s=0.3)
    second.serves = True
    assert call("rollback", to=releases.a, wait_s=5).release == releases.a


def test_a_deployment_that_one_replica_does_not_follow_is_taken_back(releases, second):
    releases.deployed(releases.a)
    releases.promoted(releases.b)
    stuck(second, 2)
    with pytest.raises(InputError, match=rf"server 127\.0\.0\.2 that serves {releases.a} .*rolled back to {releases.a}"):
        call("deploy", wait_s=0.3)
    assert releases.journal.routing == Routing(champion=releases.a)


def test_nothing_is_deployed_before_each_replica_has_it_warm(releases, second):
    releases.promoted(releases.a)
    second.loads = False
    with pytest.raises(InputError, match=r"server 127\.0\.0\.2 without release .*the index is damaged"):
        call("deploy", wait_s=0.3)
    assert len(releases.journal.entries) == 1


def test_an_entry_is_followed_once_each_replica_follows(releases, second):
    releases.deployed(releases.a)
    stuck(second, 2)
    with pytest.raises(TryAgain, match=r"server 127\.0\.0\.2 that follows entry 2 .*entry 3, which stays"):
        call("toggle", name="rerank", value="off", wait_s=0.3)


def test_a_replica_that_is_down_is_not_taken_for_one_that_follows(releases, server, resolved, monkeypatch):
    monkeypatch.setenv("RATCHET_SERVER_URL", f"http://{NAME}:{server.http.server_port}")
    releases.promoted(releases.a)
    with pytest.raises(TryAgain, match=r"server 127\.0\.0\.2 without release"):
        call("deploy", wait_s=0.3)
    resolved.remove("127.0.0.2")
    assert call("deploy", wait_s=0.3).outcome == "deployed", "a single address is asked as it always was"


def test_live_queries_are_asked_of_each(resolved, monkeypatch):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"release": "%s"}' % release[self.server.server_address[0]].encode())

        def log_message(self, *_):
            pass

    release = {"127.0.0.1": "aa", "127.0.0.2": "bb"}
    first = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    both = [first, ThreadingHTTPServer(("127.0.0.2", first.server_port), Answer)]
    for server in both:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("RATCHET_SERVER_URL", f"http://{NAME}:{first.server_port}")
    with pytest.raises(TryAgain, match="releases aa, bb"):
        answering_release("heart")
    release["127.0.0.2"] = "aa"
    assert answering_release("heart") == "aa"
    for server in both:
        server.shutdown()
        server.server_close()


def test_what_a_proxy_resolves_is_asked_by_its_name(resolved, monkeypatch):
    assert addresses(f"http://{NAME}") == ["127.0.0.1", "127.0.0.2"]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert addresses(f"http://{NAME}") == [""]
    monkeypatch.setenv("no_proxy", NAME)
    assert addresses(f"http://{NAME}") == ["127.0.0.1", "127.0.0.2"]
    assert addresses("http://[::") == addresses(f"http://{'no.' + NAME}") == [""], "who asks is told why"


def test_a_certificate_is_of_the_name_and_so_is_the_host_header(resolved, tmp_path, monkeypatch):
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - datetime.timedelta(1), now + datetime.timedelta(1))
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False).sign(key, hashes.SHA256())
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    (tmp_path / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    hosts = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            hosts.append((self.headers["Host"], self.path))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.2", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    url = f"https://{NAME}:{server.server_port}/behind/"
    assert ask(url, "/readyz", "127.0.0.2").status_code == 200
    assert hosts == [(f"{NAME}:{server.server_port}", "/behind/readyz")]
    server.shutdown()
    server.server_close()
