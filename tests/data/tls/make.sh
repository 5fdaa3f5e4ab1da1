#!/bin/sh
# Makes the files beside this one again, with OpenSSL 3: ca.pem, a certificate authority of
# our own; upstream.pem, a certificate that it signed for 127.0.0.1, localhost and upstream.test;
# upstream.key, the key to that, and to self.pem (self-signed, with CA:TRUE, as `openssl req -x509`
# makes it) and expired.pem (the same, but valid in 2020 only). The others are valid from 2020 to 2119,
# since a test must not end by the calendar, and worthless: no client trusts the authority, and its own
# key is thrown away here.
set -eu
cd "$(dirname "$0")"
here=$PWD
cd "$(mktemp -d)"

# `openssl ca` is the one command that takes a first day.
mkdir issued
: > index
echo 01 > serial
cat > ca.cnf <<'END'
[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = issued
default_md = sha256
policy = any
[any]
commonName = supplied
END
printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' > ca.ext
printf '%s\n' basicConstraints=CA:FALSE extendedKeyUsage=serverAuth \
  subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:upstream.test > upstream.ext
issue() {
  openssl ca -config ca.cnf -batch -notext -keyfile ca.key \
    -startdate 20200101000000Z -enddate 21191231000000Z "$@"
}

openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -new -key ca.key -subj "/CN=the tests of model-filter" -out ca.csr
issue -selfsign -extfile ca.ext -in ca.csr -out "$here/ca.pem"

openssl ecparam -name prime256v1 -genkey -noout |
  openssl pkcs8 -topk8 -nocrypt -out "$here/upstream.key"
openssl req -new -key "$here/upstream.key" -subj "/CN=upstream.test" -out upstream.csr
issue -cert "$here/ca.pem" -extfile upstream.ext -in upstream.csr -out "$here/upstream.pem"

# The same key, self-signed.
cp "$here/upstream.key" own.key
printf '%s\n' basicConstraints=critical,CA:TRUE subjectAltName=IP:127.0.0.1,DNS:localhost > self.ext
openssl req -new -key own.key -subj "/CN=localhost" -out own.csr
openssl ca -config ca.cnf -batch -notext -keyfile own.key -selfsign -extfile self.ext -in own.csr \
  -startdate 20200101000000Z -enddate 21191231000000Z -out "$here/self.pem"
: > index # a second one with the same name
openssl ca -config ca.cnf -batch -notext -keyfile own.key -selfsign -extfile self.ext -in own.csr \
  -startdate 20200101000000Z -enddate 20201231000000Z -out "$here/expired.pem"
