#!/bin/sh
# Checks that what can't be installed into the project's folder is there, and
# names all that is missing at once. Usage: prerequisites.sh PROGRAM...
# Exit code 2: something is missing.
set -u
cd "$(dirname "$0")/../.." || exit 2

missing=0
miss() {
	missing=1
	printf 'missing: %s\n' "$1" >&2
	printf '   get it: %s\n' "$2" >&2
}

# at_least HAVE WANT: compares versions, number by number.
at_least() {
	awk -v have="$1" -v want="$2" 'BEGIN {
		split(have, h, "."); n = split(want, w, ".")
		for (i = 1; i <= n; i++) {
			if (h[i] + 0 > w[i] + 0) exit 0
			if (h[i] + 0 < w[i] + 0) exit 1
		}
	}'
}

for program in "$@"; do
	case $program in
	linux)
		# AWS publishes its Runtime Interface Emulator for Linux alone.
		[ "$(uname -s)" = Linux ] ||
			miss "Linux (this is $(uname -s))" "run it in a Linux machine, a virtual one or WSL"
		case $(uname -m) in
		x86_64 | aarch64 | arm64) ;;
		*) miss "a processor that AWS Lambda knows (this is $(uname -m))" "use an x86_64 or arm64 machine" ;;
		esac
		;;
	go)
		# Inside the module, so that Go picks the toolchain that go.mod asks for.
		want=$(awk '$1 == "go" { print $2 }' go.mod)
		have=$(go env GOVERSION 2>/dev/null | sed 's/^go//')
		at_least "${have:-0}" "$want" ||
			miss "Go $want or newer${have:+ (this is $have)}" "https://go.dev/dl/"
		;;
	python3)
		python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
			miss "Python 3.11 or newer" "apt-get install python3, dnf install python3, or https://www.python.org/downloads/"
		if command -v python3 >/dev/null; then
			python3 -c 'import venv, ensurepip' 2>/dev/null ||
				miss "Python's venv module" "apt-get install python3-venv"
		fi
		;;
	java)
		jdk='apt-get install openjdk-17-jdk-headless, dnf install java-17-openjdk-devel, or https://adoptium.net/'
		have=$(java -version 2>&1 | sed -n 's/.*version "\([0-9.]*\).*/\1/p' | head -n 1)
		at_least "${have:-0}" 17 ||
			miss "Java 17 or newer${have:+ (this is $have)}" "$jdk"
		# The runtime alone can't run a source file.
		if [ -n "$have" ]; then
			java --list-modules 2>/dev/null | grep -q '^jdk.compiler' ||
				miss "Java's compiler (only its runtime is installed)" "$jdk"
		fi
		;;
	mvn)
		mvn --version >/dev/null 2>&1 ||
			miss "Maven" "apt-get install maven, dnf install maven, or https://maven.apache.org/download.cgi"
		;;
	node)
		# jsii, in which CDK is written, runs in Node.js; npm brings CDK's command line.
		want=20
		have=$(node --version 2>/dev/null | sed 's/^v//')
		at_least "${have:-0}" "$want" ||
			miss "Node.js $want or newer${have:+ (this is $have)}" "https://nodejs.org/en/download, or your system's package nodejs"
		command -v npm >/dev/null || miss "npm, which comes with Node.js" "https://nodejs.org/en/download, or your system's package npm"
		;;
	*)
		command -v "$program" >/dev/null || miss "$program" "apt-get install $program"
		;;
	esac
done

[ "$missing" = 0 ] || exit 2
