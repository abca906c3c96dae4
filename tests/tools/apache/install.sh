#!/usr/bin/env bash
# install.sh DIR [VERSION] [POM]
# Resolves Apache Kafka's jars with Maven into DIR/libs. Does nothing when they are there already.
#   POM   pom.xml (broker and tools, the default), clients-pom.xml (the Java client alone) or streams-pom.xml (Kafka Streams)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: install.sh DIR [VERSION] [POM]}
version=${2:-4.3.1}
pom=${3:-pom.xml}
[ ! -e "$dir/.complete-$version" ] || exit 0
mkdir -p "$dir/libs" "$dir/build"
dir=$(cd "$dir" && pwd)
cp "$here/$pom" "$dir/build/pom.xml"
(cd "$dir/build" && mvn -q -B -ntp -Dstyle.color=never -Dkafka.version="$version" dependency:copy-dependencies \
  -DoutputDirectory="$dir/libs" -DincludeScope=runtime)
touch "$dir/.complete-$version"
