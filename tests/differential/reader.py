"""Reads bodies with the parsers of Python: see run.py for the protocol."""

import asyncio
import base64
import email
import email.policy
import io
import json
import re
import sys
import unittest.mock
import warnings

import aiohttp.test_utils
import django.conf
import django.core.handlers.wsgi
import python_multipart
import starlette.requests
import tornado.httputil
import werkzeug.formparser

warnings.simplefilter("ignore")
django.conf.settings.configure(ALLOWED_HOSTS=["*"])
django.setup()


def text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def member(value):
    return [value["model"]] if isinstance(value, dict) and isinstance(value.get("model"), str) else []


def charset_in(content_type):
    found = re.search(r"charset=[\"']?([\w-]+)", content_type, re.I)
    return found.group(1) if found else "utf-8"


def json_detected(content_type, body):
    return member(json.loads(body))


def json_by_charset(content_type, body):
    return member(json.loads(body.decode(charset_in(content_type))))


def email_parts(policy):
    def read(content_type, body):
        head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
        message = email.message_from_bytes(head + body, policy=policy)
        parts = message.get_payload() if message.is_multipart() else []
        named = [part for part in parts if part.get_param("name", header="content-disposition") == "model"]
        return [text(part.get_payload(decode=True)) for part in named if not part.is_multipart()]

    return read


def by_python_multipart(content_type, body):
    found = []

    def on_field(field):
        if field.field_name == b"model":
            found.append(text(field.value or b""))

    def on_file(file):
        if file.field_name == b"model":
            file.file_object.seek(0)
            found.append(text(file.file_object.read()))

    headers = {"Content-Type": content_type.encode("latin-1"), "Content-Length": str(len(body)).encode()}
    try:
        python_multipart.parse_form(headers, io.BytesIO(body), on_field, on_file)
    except Exception:  # what it called back before that counts
        pass
    return found


def by_starlette(content_type, body):
    async def receive():
        return {"type": "http.request", "body": body}

    async def read():
        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode("latin-1"))]}
        values = (await starlette.requests.Request(scope, receive).form()).getlist("model")
        return [value if isinstance(value, str) else text(await value.read()) for value in values]

    return asyncio.run(read())


def by_werkzeug(content_type, body):
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    _, fields, files = werkzeug.formparser.parse_form_data(environ, silent=False)
    return fields.getlist("model") + [text(file.read()) for file in files.getlist("model")]


def by_django(content_type, body):
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    request = django.core.handlers.wsgi.WSGIRequest(environ)
    return request.POST.getlist("model") + [text(file.read()) for file in request.FILES.getlist("model")]


def by_aiohttp(content_type, body):
    async def read():
        protocol = unittest.mock.Mock(_reading_paused=False)
        payload = aiohttp.StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
        payload.feed_data(body)
        payload.feed_eof()
        request = aiohttp.test_utils.make_mocked_request("POST", "/", headers={"Content-Type": content_type}, payload=payload)
        values = (await request.post()).getall("model", [])
        return [text(value.file.read()) if hasattr(value, "file") else text(value) for value in values]

    return asyncio.run(read())


def by_tornado(content_type, body):
    fields, files = {}, {}
    tornado.httputil.parse_body_arguments(content_type, body, fields, files)
    return [text(value) for value in fields.get("model", [])] + [text(file["body"]) for file in files.get("model", [])]


READERS = {
    "json": json_detected,
    "json by charset": json_by_charset,
    "email": email_parts(email.policy.compat32),
    "email HTTP": email_parts(email.policy.HTTP),
    "python-multipart": by_python_multipart,
    "starlette": by_starlette,
    "werkzeug": by_werkzeug,
    "django": by_django,
    "aiohttp": by_aiohttp,
    "tornado": by_tornado,
}

for line in sys.stdin:
    case = json.loads(line)
    content_type, body = case["type"] or "", base64.b64decode(case["body"])
    reads = {}
    for name, read in READERS.items():
        try:
            reads[name] = read(content_type, body)
        except Exception:
            reads[name] = None
    print(json.dumps({"reads": reads}), flush=True)
