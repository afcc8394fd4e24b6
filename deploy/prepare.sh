#!/usr/bin/env bash
# Installs from Debian what building Waybill and running its demo need, and nothing else.
#
#   deploy/prepare.sh              the build and the demo
#   deploy/prepare.sh NAME...      further rows of the table below as well (the tests call it so)
#
# Nothing to do: silent, and no package list is fetched. Something to do: root is needed, or the command to type is printed.
set -euo pipefail

# Is a package's purpose served already, by whatever means? A compiler need not have come from Debian.
present() {
  case $1 in
    gcc) command -v cc ;;
    libc6-dev) printf '#include <stdlib.h>\n' | cc -E - ;;
    pkg-config) command -v pkg-config ;;
    libssl-dev) pkg-config --exists openssl ;;
    openssl) command -v openssl ;;
    ca-certificates) test -s /etc/ssl/certs/ca-certificates.crt ;;
    openssh-server) test -x /usr/sbin/sshd ;;
    openssh-client) command -v sftp && command -v ssh-keygen ;;
    postgresql-15) test -x /usr/lib/postgresql/15/bin/initdb ;;
    strace) command -v strace ;;
    chromium) command -v chromium ;;
    fonts-dejavu-core) test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ;;
    nodejs) command -v node ;;
    npm) command -v npm ;;
    haproxy) test -x /usr/sbin/haproxy ;;
    apache2-bin) test -x /usr/sbin/apache2 ;;
    squid) test -x /usr/sbin/squid ;;
    proftpd-core) test -x /usr/sbin/proftpd ;;
    proftpd-mod-crypto) test -e /usr/lib/proftpd/mod_tls.so ;;
    libwrap0) ldconfig -p | grep -q libwrap.so.0 ;;
    libsodium23) ldconfig -p | grep -q libsodium.so.23 ;;
    nginx) test -x /usr/sbin/nginx ;;
    libnginx-mod-http-dav-ext) test -e /usr/lib/nginx/modules/ngx_http_dav_ext_module.so ;;
    sshfs) command -v sshfs ;;
    rclone) command -v rclone ;;
    lftp) command -v lftp ;;
    microsocks) command -v microsocks ;;
    e2fsprogs) test -x /usr/sbin/mkfs.ext4 ;;
    xfsprogs) test -x /usr/sbin/mkfs.xfs ;;
    python3-venv) /usr/bin/python3 -c 'import ensurepip, venv' ;;
    dpkg-dev) command -v dpkg-shlibdeps ;;
    debootstrap) command -v debootstrap ;;
    systemd) command -v systemd-analyze ;;
    man-db) command -v man ;;
    gnupg) command -v gpg && command -v gpgconf && command -v gpg-agent ;;
    *) echo "prepare.sh: no such row: $1" >&2; exit 2 ;;
  esac >/dev/null 2>&1
}

# The service that a package would start on its own at every boot. We want the program, not a public server.
service_of() {
  case $1 in
    openssh-server) echo ssh.service ;;
    postgresql-15) echo postgresql.service ;;
    haproxy) echo haproxy.service ;;
    squid) echo squid.service ;;
    proftpd-core) echo proftpd.service ;;
    nginx) echo nginx.service ;;
  esac
}

wanted=(gcc libc6-dev pkg-config libssl-dev openssl ca-certificates openssh-client openssh-server "$@")
missing=()
for package in "${wanted[@]}"; do
  present "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "prepare.sh: this machine lacks what these Debian packages bring: ${missing[*]}" >&2
  echo "prepare.sh: it has no apt-get; install their counterparts by its own means, then run this again" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "prepare.sh: missing: ${missing[*]}" >&2
  echo "prepare.sh: only root can install them: sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

echo "prepare.sh: installing from Debian: ${missing[*]}" >&2
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=
finish() {
  if [ -n "$made_policy" ]; then rm -f "$policy"; fi
  rm -f "$log"
}
trap finish EXIT
if [ ! -e "$policy" ]; then # asked by Debian's install scripts whether they may start a service
  made_policy=1
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

if ! {
  apt-get update &&
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "${missing[@]}"
} </dev/null >"$log" 2>&1; then
  cat "$log" >&2
  echo "prepare.sh: apt-get failed; its output is above" >&2
  exit 1
fi

for package in "${missing[@]}"; do
  service=$(service_of "$package")
  if [ -n "$service" ] && [ -d /run/systemd/system ]; then
    systemctl disable --quiet "$service"
    echo "prepare.sh: $service is installed but neither started nor enabled: Waybill starts its own on loopback" >&2
  fi
  if ! present "$package"; then
    echo "prepare.sh: $package was installed, yet what it should bring is not there" >&2
    exit 1
  fi
done
