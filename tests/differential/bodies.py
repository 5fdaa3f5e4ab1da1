"""Bodies that two servers may read differently: mostly plain pieces, with tricks in between.

They name the models `kept` and `hidden`, with and without the prefix `p/`.
"""

import random


def bodies(seed, count):
    """Pairs of a Content-Type (None: no field) and a body."""
    rng = random.Random(seed)
    for _ in range(count):
        rng.oddness = rng.choice([0, 0.2, 0.2, 0.5, 1])
        kind = rng.random()
        if kind < 0.6:
            yield multipart(rng)
        elif kind < 0.9:
            yield document(rng)
        else:
            yield form(rng)


def pick(rng, plain, odd, chance=0.12):
    """One of the plain pieces, or by chance one of the odd ones."""
    return rng.choice(odd if rng.random() < chance * rng.oddness else plain)


def name(rng):
    return pick(rng, ["kept", "kept", "p/kept", "p/kept", "hidden", "p/hidden"], ["HIDDEN", "hidden ", " hidden", "hidden\0", "+AGg-idden", ""])


def damaged(rng, body):
    """A few bytes inserted, replaced or removed."""
    if rng.random() > 0.3 * rng.oddness:
        return body
    body = bytearray(body)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(body))
        byte = rng.choice(b"\r\n-\t ;:=\"\\\0\x0b\x0c\x85{}mB,'[]\xef\xff")
        if rng.random() < 0.5:
            body.insert(at, byte)
        elif at < len(body):
            if rng.random() < 0.5:
                body[at] = byte
            else:
                del body[at]
    return bytes(body)


CHARSETS = ["utf-7", "utf-16", "utf-16le", "utf-32", "cp037", "unicode_escape", "iso-8859-1", "windows-1252", "shift_jis"]


def charset(rng):
    """A parameter, or nothing."""
    odd = [f"; charset={name}" for name in CHARSETS]
    odd += ['; charset="utf-7"', "; charset='utf-7'", "; charset*=utf-7", "; charset=utf-8; charset=utf-7", ';x="; charset=utf-7"']
    return pick(rng, ["", "", "; charset=utf-8", ";charset=UTF-8"], odd, 0.15)


# JSON


def document(rng):
    media = pick(
        rng,
        ["application/json", "application/json", "application/vnd.api+json", None],
        ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded", "text/json", "application/json, x",
         "multipart/form-data; boundary=B", "json"],
        0.25,
    )
    content_type = None if media is None else media + charset(rng)
    members = []
    for _ in range(rng.randint(1, 4)):
        key = pick(
            rng,
            ['"model"', '"x"', '"messages"', '"input"', '"\\u006dodel"'],
            ['"Model"', '"MODEL"', '" model"', '"model\\u0000"', '"model\\u0000x"', "'model'", "model", '"mode\\l"',
             '"\\ud800model"', '"+AG0-odel"', '"model[]"', '"\ufeffmodel"'],
        )
        value = pick(
            rng,
            [f'"{name(rng)}"'] * 5 + ['"hid\\u0064en"', "1", "null", '{"model":"hidden"}', '[{"model":"hidden"}]'],
            ['"hidden\\u0000"', '"hidden\\u0000x"', '"hid\\x64en"', "'hidden'", "hidden", "NaN", "01", '"\ud800"', '["hidden"]',
             '"&model=hidden&"', '"\n"', '"a","model":"hidden"'],
        )
        members.append(f"{key}:{value}")
    text = "{" + ",".join(members) + pick(rng, ["}"], [",}", "", "}}", "/*x*/}", "} //x"])
    before = pick(rng, ["", " ", "\r\n"], ["\ufeff", "\x0b", "\x0c", "\xa0", "/**/", "//\n", "x", "\0", "[", '{"model":"hidden"}', "\u2028"])
    after = pick(rng, ["", "\n"], ["x", "\0", '{"model":"hidden"}', "]", "\x1e", "&model=hidden", "\n{\"model\":\"hidden\"}"])
    text = before + text + after
    encoding = pick(rng, ["utf-8"], ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-7", "cp037", "utf-8-sig"], 0.1)
    try:
        body = text.encode(encoding, "surrogatepass")
    except UnicodeError:
        body = text.encode("utf-8", "replace")
    return content_type, damaged(rng, body)


# Forms


def form(rng):
    pairs = []
    for _ in range(rng.randint(1, 3)):
        key = pick(rng, ["x", "y", "models"], ["model", "Model", "%6dodel", "model%00", "model[]", "+model", "%5Bmodel%5D", "model%20", "mo%64el"], 0.3)
        pairs.append(f"{key}={name(rng).replace(' ', '+').replace(chr(0), '%00')}")
    text = pick(rng, ["&", "&"], [";", "&&", "\n"]).join(pairs)
    media = pick(rng, ["application/x-www-form-urlencoded"], ["application/x-www-form-urlencoded;", "Application/X-WWW-Form-urlencoded"])
    return media + charset(rng), damaged(rng, text.encode())


# multipart


def multipart(rng):
    boundary = pick(
        rng, ["B", "B", "----WebKitFormBoundary7MA4", "a-B_1'+."], ["-", "--", 'B"C', "B C", "B/C", "B;C", "B\\C", "B=", "", "b" * 71]
    )
    written = pick(rng, [boundary, f'"{boundary}"'], [f'"{boundary}', f'{boundary}"', f"'{boundary}'", f" {boundary}", f"{boundary} ",
                   f'"{boundary}"x', f'"{boundary} "', f'"\\{boundary}"', f"{boundary},x", f"{boundary};x", f"{boundary}(c)"])
    extra = pick(rng, [""], ["; boundary=C", '; x="; boundary=C"', "; boundary*=C", "; boundary*0=C", "; x=boundary=C", "; Boundary=C"])
    media = pick(rng, ["multipart/form-data"] * 3 + ["multipart/mixed"],
                 ["multipart/form-data, x", "Multipart/Form-Data", "text/plain; multipart/form-data", "multipart", "multipart/boundary",
                  "application/json multipart/form-data", "multipart/digest"])
    first = charset(rng) if rng.random() < 0.5 else ""
    gap = pick(rng, ["; ", ";"], [" ;", " ", ";\t", ";;", ","], 0.08)
    word = pick(rng, ["boundary"], ["BOUNDARY", "xboundary", "boundary ", "boundary*", "bound\\ary"], 0.06)
    content_type = f"{media}{first}{gap}{word}={written}{extra}" + (charset(rng) if not first else "")
    # A second boundary that some reader may use: the body has parts for it, too.
    others = ["C", boundary + "C", written.strip(), boundary.strip('"\\'), "B"]
    body = pick(rng, [b"", b"", b"\r\n"], [b"x", b"junk\r\n", b"\n", b"\0", b'{"model":"hidden"}\r\n', part_of(rng)], 0.08)
    for _ in range(rng.randint(1, 3)):
        own = boundary if rng.random() > 0.06 * rng.oddness else rng.choice(others)
        body += pick(rng, [b""] * 3, [b"\n", b"x", b" ", b"\r"], 0.04)
        body += b"--" + own.encode() + pick(rng, [b"\r\n"], [b"\n", b" \r\n", b"\t\r\n", b"\x0c\r\n", b"x\r\n", b"\r", b"--\r\n", b"\0\r\n"], 0.05)
        body += part_of(rng) + pick(rng, [b"\r\n"], [b"\n", b"", b"\r", b"\r\n\r\n", b" \r\n"], 0.05)
    body += b"--" + boundary.encode() + pick(rng, [b"--\r\n", b"--"], [b"--x", b"", b"-- \r\n", b"--\n", b"\r\n"], 0.06)
    body += pick(rng, [b""], [b"x", b"\r\n", b"\r\n" + part_of(rng), part_of(rng), b"\r\n--" + boundary.encode() + b"\r\n" + part_of(rng)], 0.08)
    return content_type, damaged(rng, body)


def part_of(rng):
    field = pick(rng, ["model", "x", "x", "file", "models"],
                 ["Model", " model", "model ", "model[]", "[model]", "mod\\el", "_charset_", "model%00", "x; name=model", 'x\\"; name=\\"model',
                  "+AG0-odel", "m\0odel"], 0.2)
    quoted = pick(rng, [f'"{field}"', f'"{field}"', field], [f'"{field}', f'{field}"', f"'{field}'", f'"{field}"x', f' "{field}"'], 0.08)
    word = pick(rng, ["name"], ["NAME", "name ", "name*", "name*0", "xname", "x; name"], 0.08)
    kind = pick(rng, ["form-data"], ["Form-Data", "attachment", "form-data;", "", "form-data;;", "form-data, form-data", "inline"], 0.08)
    files = ["; filename=a", '; filename=""', "; filename*=UTF-8''x", "; filename*=UTF-8''", "; filename*=x", "; filename = x",
             '; a=b"; filename=c"', '; filename="; name=model"', '; filename="a"; filename="b"', "; filename", "; x=y", "; name=model",
             '; filename="a\\"; name=\\"model"', "; filename=a name=model", "; filename=\"x name=model\""]
    file = pick(rng, ["", "", "", '; filename="a.wav"'], files, 0.25)
    separator = pick(rng, ["; "], [";", " ; ", " ", ", ", ";\r\n ", ";\n "], 0.08)
    header = pick(rng, ["Content-Disposition"], ["content-disposition", "Content-Disposition ", "X-Disposition", "\tContent-Disposition"], 0.08)
    disposition = f"{header}: {kind}{separator}{word}={quoted}{file}"
    content = pick(rng, [name(rng)] * 4 + ["RIFF"],
                   ["a\r\n--B\r\n", "a\n--B\nContent-Disposition: form-data; name=model\n\nhidden\n", "hidden\r\nx",
                    "\r\nContent-Disposition: form-data; name=model\r\n\r\nhidden", "kept\r\n--B--\r\nhidden", "aGlkZGVu", "=68idden",
                    "--C\r\nContent-Disposition: form-data; name=model\r\n\r\nhidden\r\n--C--", '"hidden"', "x--B"], 0.2)
    others = ["Content-Type: text/plain; charset=utf-7", "Content-Type: application/json", "Content-Type: text/plain; charset=utf-16le",
              "Content-Type: multipart/mixed; boundary=C", "Content-Type: message/rfc822", "Content-Transfer-Encoding: base64",
              "Content-Transfer-Encoding: quoted-printable", "Content-Encoding: deflate", "Content-Encoding: gzip",
              "Content-Length: 0", "Content-Length: 6", "Content-Length: 99", "no colon", ": x", "X: y\n" + disposition, "X: y\r" + disposition,
              "Content-Disposition: form-data; name=model", "Content-Disposition: form-data; name=x", "X: \0", "X:\x0b y", "From x"]
    lines = [disposition] if rng.random() < 0.95 else []
    plain = [f"Content-Length: {len(content.encode())}", "Content-Type: text/plain; charset=utf-8", "Content-Type: application/octet-stream", "X: y"]
    for _ in range(rng.choice([0, 0, 1, 2])):
        lines.insert(rng.randint(0, len(lines)), pick(rng, plain, others, 0.3))
    end = pick(rng, ["\r\n"], ["\n", "\r", "\r\n "], 0.05)
    blank = pick(rng, ["\r\n\r\n"], ["\n\n", "\r\n \r\n", "\r\n", "\r\r", "\n\r\n"], 0.05)
    return (end.join(lines) + blank + content).encode("utf-8", "surrogatepass")
