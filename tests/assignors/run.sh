#!/usr/bin/env bash
# run.sh [SEEDS]: thousands of random groups to Apache's assignors and to ours; every record has to be the same.
#   tests/assignors/run.sh       four seeds, a minute
#   tests/assignors/run.sh 40    forty
# KAFKA_DIR: an installed Apache Kafka (default build/tests/kafka-4.3.1, which is made when missing).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
kafka=${KAFKA_DIR:-$root/build/tests/kafka-4.3.1}
[ -d "$kafka/libs" ] || "$here/../tools/apache/install.sh" "$kafka"
cmake --build "$root/build/release" --target assignors > /dev/null
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
javac -cp "$kafka/libs/*" -d "$classes" "$here/Histories.java"
compare() {
  java -Xmx256m -cp "$classes:$kafka/libs/*" -Dlog4j2.level=OFF Histories "$@" | "$root/build/release/tests/assignors/assignors"
}
for seed in $(seq 1 "${1:-4}"); do
  compare "$seed" 300 40
  compare "$seed" 4 8 1000 1000
done
