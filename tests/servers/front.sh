#!/usr/bin/env bash
# nginx, HAProxy or Apache as a reverse proxy in front of another server, on loopback. Fields and commands: README.md beside this
# file.
#
#   front.sh start DIR [--owner-pid PID] --server nginx|haproxy|apache --to PORT [--authentication basic|digest] [--tls] [--extra LINE]... [--server-extra LINE]
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

nginx=/usr/sbin/nginx
haproxy=/usr/sbin/haproxy
apache=/usr/sbin/apache2
modules=/usr/lib/apache2/modules
user=partner
password=correct-horse
realm='Messages of partners'
stop_signal=KILL # nothing of its state is worth an orderly end
account=www-data

configure() {
  local server='' to='' authentication='' tls='' extra=()
  server_extra=''
  while [ $# -gt 0 ]; do
    case $1 in
      --server) server=$2 ;;
      --to) to=$2 ;;
      --authentication) authentication=$2 ;;
      --extra) extra+=("$2") ;;
      --server-extra) server_extra=$2 ;;
      --tls)
        tls=1
        shift
        continue
        ;;
      *) die "no such option: $1" ;;
    esac
    shift 2
  done
  [ -n "$to" ] || die "--to wants the port of the server behind it"
  mkdir -p "$dir/own"
  printf '%s %s\n' "$server" "${tls:-0}" >"$dir/run/front"
  echo "front-$SRANDOM$SRANDOM" >"$dir/run/token"
  if [ -n "$tls" ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
      -keyout "$dir/key.pem" -out "$dir/certificate.pem" 2>/dev/null
    cat "$dir/certificate.pem" "$dir/key.pem" >"$dir/both.pem"
  fi
  case "$server $authentication" in
    'nginx ' | 'haproxy ') ;;
    'nginx basic') printf '%s:%s\n' "$user" "$(openssl passwd -apr1 "$password")" >"$dir/passwords" ;;
    'apache digest')
      printf '%s:%s:%s\n' "$user" "$realm" "$(printf '%s:%s:%s' "$user" "$realm" "$password" | md5sum | cut -d' ' -f1)" >"$dir/passwords"
      ;;
    *) die "--server nginx [--authentication basic], --server haproxy, or --server apache --authentication digest" ;;
  esac
  "write_$server" "$to" "$authentication" "$tls" "${extra[@]}" >"$dir/config"
  if [ "$(id -u)" = 0 ]; then
    reachable "$account" "$dir"
    chown -R "$account": "$dir/own"
    for file in passwords key.pem both.pem; do if [ -e "$dir/$file" ]; then chown "$account": "$dir/$file"; fi; done
  fi
}

write_nginx() {
  local to=$1 authentication=$2 tls=$3
  shift 3
  [ -x "$nginx" ] || die "no $nginx: run tests/servers/prepare.sh"
  cat <<CONFIG
daemon off;
master_process off;
pid $dir/own/pid;
error_log $dir/own/error.log notice;
events { worker_connections 256; }
http {
  log_format short '\$status \$request_method \$uri \$remote_user';
  access_log $dir/own/access.log short;
  client_body_temp_path $dir/own/body;
  proxy_temp_path $dir/own/proxy;
  fastcgi_temp_path $dir/own/fastcgi;
  uwsgi_temp_path $dir/own/uwsgi;
  scgi_temp_path $dir/own/scgi;
  server {
    listen 127.0.0.1:@PORT@${tls:+ ssl};
    ${tls:+ssl_certificate $dir/certificate.pem; ssl_certificate_key $dir/key.pem;}
    server_name localhost;
    client_max_body_size 0;
    $server_extra
    location = /$(cat "$dir/run/token") { return 200 here; }
    location / {
      ${authentication:+auth_basic '$realm'; auth_basic_user_file $dir/passwords;}
      proxy_pass http://127.0.0.1:$to;
      proxy_http_version 1.1;
      proxy_set_header Host \$http_host;
      proxy_set_header X-Forwarded-For \$remote_addr;
$(printf '      %s\n' "$@")
    }
  }
}
CONFIG
}

write_haproxy() {
  local to=$1 tls=$3
  shift 3
  [ -x "$haproxy" ] || die "no $haproxy: run tests/servers/prepare.sh"
  cat <<CONFIG
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
listen front
  bind 127.0.0.1:@PORT@${tls:+ ssl crt $dir/both.pem}
  http-request return status 200 content-type text/plain string here if { path /$(cat "$dir/run/token") }
  server behind 127.0.0.1:$to
$(printf '  %s\n' "$@")
CONFIG
}

write_apache() {
  local to=$1 tls=$3 name token
  shift 3
  [ -x "$apache" ] || die "no $apache: run tests/servers/prepare.sh"
  token=$(cat "$dir/run/token")
  mkdir -p "$dir/own/pages"
  echo here >"$dir/own/pages/$token"
  for name in mpm_prefork authn_core authn_file authz_core authz_user auth_digest proxy proxy_http filter deflate headers reqtimeout ssl socache_shmcb; do
    [ ! -e "$modules/mod_$name.so" ] || echo "LoadModule ${name}_module $modules/mod_$name.so"
  done
  cat <<CONFIG
ServerName localhost
ServerRoot $dir/own
DefaultRuntimeDir $dir/own
PidFile $dir/own/pid
Mutex file:$dir/own
DocumentRoot $dir/own/pages
ErrorLog $dir/own/error.log
LogLevel warn mpm_prefork:notice core:notice
LogFormat "%>s %m %U %u" short
CustomLog $dir/own/access.log short
KeepAlive On
StartServers 4
MaxRequestWorkers 64
Listen 127.0.0.1:@PORT@
ProxyPass /$token !
ProxyPass / http://127.0.0.1:$to/
<Location />
AuthType Digest
AuthDigestProvider file
AuthName "$realm"
AuthUserFile $dir/passwords
Require valid-user
$(printf '%s\n' "$@")
</Location>
<Location /$token>
Require all granted
</Location>
${tls:+SSLEngine on
SSLCertificateFile $dir/certificate.pem
SSLCertificateKeyFile $dir/key.pem
SSLSessionCache none}
CONFIG
}

launch() {
  local server command
  read -r server _ <"$dir/run/front"
  sed "s/@PORT@/$1/" "$dir/config" >"$dir/own/config"
  rm -f "$dir/own/pid" # of a process that was killed, and may not be reaped yet
  case $server in
    nginx) command=("$nginx" -c "$dir/own/config" -e "$dir/own/error.log") ;;
    haproxy) command=("$haproxy" -db -f "$dir/own/config") ;;
    apache) command=("$apache" -D FOREGROUND -f "$dir/own/config") ;;
  esac
  if [ "$(id -u)" = 0 ]; then as_user "$account" setsid "${command[@]}"; else exec setsid "${command[@]}"; fi
}

# The path with the token is this server's alone.
answers() {
  local tls request status=''
  read -r _ tls <"$dir/run/front"
  request="GET /$(cat "$dir/run/token") HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
  if [ "$tls" = 1 ]; then
    # shellcheck disable=SC2059 # the request holds the escapes
    status=$(printf "$request" | timeout 5 openssl s_client -quiet -connect "127.0.0.1:$1" 2>/dev/null | sed -n 1p) || return 1
  else
    # shellcheck disable=SC2059
    { printf "$request" >&3 && read -rt 5 status <&3; } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  fi
  [[ $status == *' 200 '* ]]
}

describe() {
  local server tls version scheme=http certificate=null
  read -r server tls <"$dir/run/front"
  case $server in
    nginx) version=$("$nginx" -v 2>&1 | sed 's/.*nginx\///') ;;
    haproxy) version=$("$haproxy" -v | sed -n '1s/HAProxy version \([^ ]*\).*/\1/p') ;;
    apache) version=$("$apache" -v | sed -n '1s/.*Apache\///p') ;;
  esac
  if [ "$tls" = 1 ]; then scheme=https certificate=$dir/certificate.pem; fi
  json server "$server" version "$version" host 127.0.0.1 port "$1" pid "$2" url "$scheme://127.0.0.1:$1" user "$user" \
    password "$password" certificate "$certificate" log "$dir/log" requests "$dir/own/access.log"
  echo
}

serve_command "$@"
