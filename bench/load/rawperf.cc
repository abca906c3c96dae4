// rawperf: a load generator for any broker that speaks Kafka's protocol, with no client library, to
// find what the broker itself can do and what it costs.
//
//   rawperf produce -b HOST:PORT -t TOPIC [-n RECORDS | -d SECONDS] [-s RECORD_BYTES] [-B
//   BATCH_BYTES]
//           [-i IN_FLIGHT] [-c CONNECTIONS] [-a 1|all] [-R REQUESTS_PER_S] [-I] [-P BROKER_PID]
//           [--create PARTITIONS] [--conf NAME=VALUE]...
//   rawperf fetch -b HOST:PORT -t TOPIC [-d SECONDS] [-c CONNECTIONS] [--verify] [-P BROKER_PID]
//   rawperf versions -b HOST:PORT
//
// -B is the target size of one record batch; -c connections per leader, each with -i requests
// outstanding; -I makes each connection an idempotent producer; -R paces in an open loop and counts
// latency from the intended send time; -P reads the broker's CPU time. One line of JSON goes to
// stdout. The exit status is 1 when any answer was an error.
#include <getopt.h>

#include "measure.h"

namespace {

enum { kCreate = 256, kConf, kVerify };

constexpr option kLong[] = {{"create", 1, nullptr, kCreate},
                            {"conf", 1, nullptr, kConf},
                            {"verify", 0, nullptr, kVerify},
                            {nullptr, 0, nullptr, 0}};

void set(load::Options* o, int name, const char* value) {
  std::string text = value == nullptr ? "" : value;
  switch (name) {
    case 'b':
      o->bootstrap = load::parse_endpoint(text);
      break;
    case 't':
      o->topic = text;
      break;
    case 'n':
      o->records = atoll(value);
      break;
    case 'd':
      o->seconds = atof(value);
      break;
    case 's':
      o->record_bytes = atoi(value);
      break;
    case 'B':
      o->batch_bytes = atoi(value);
      break;
    case 'i':
      o->in_flight = atoi(value);
      break;
    case 'c':
      o->connections = atoi(value);
      break;
    case 'a':
      o->acks = text == "all" ? -1 : atoi(value);
      break;
    case 'R':
      o->rate = atof(value);
      break;
    case 'I':
      o->idempotent = true;
      break;
    case 'P':
      o->broker_pid = atoi(value);
      break;
    case kCreate:
      o->create_partitions = atoi(value);
      break;
    case kConf: {
      size_t equals = text.find('=');
      if (equals == std::string::npos) load::die("--conf NAME=VALUE");
      o->configs.emplace_back(text.substr(0, equals), text.substr(equals + 1));
      break;
    }
    case kVerify:
      o->verify = true;
      break;
    default:
      load::die("usage: see the head of rawperf.cc");
  }
}

load::Options parse(int argc, char** argv) {
  load::Options o;
  if (argc < 2) load::die("usage: rawperf produce|fetch|versions -b HOST:PORT -t TOPIC ...");
  o.mode = argv[1];
  optind = 2;
  for (int name;
       (name = getopt_long(argc, argv, "b:t:n:d:s:B:i:c:a:R:IP:", kLong, nullptr)) != -1;) {
    set(&o, name, optarg);
  }
  if (o.records == 0 && o.seconds <= 0 && o.mode == "produce") o.seconds = 10;
  return o;
}

void print(const load::Options& o, const load::Topic& topic, const load::Result& r) {
  double millions = static_cast<double>(r.records) / 1e6;
  double gigabytes = static_cast<double>(r.bytes) / 1e9;
  printf("{\"mode\":\"%s\",\"records\":%llu,\"requests\":%llu,\"bytes\":%llu,\"seconds\":%.3f",
         o.mode.c_str(), static_cast<unsigned long long>(r.records),
         static_cast<unsigned long long>(r.requests), static_cast<unsigned long long>(r.bytes),
         r.seconds);
  printf(",\"rec_per_s\":%.0f,\"MBps\":%.2f", static_cast<double>(r.records) / r.seconds,
         static_cast<double>(r.bytes) / r.seconds / 1e6);
  printf(",\"avg_ms\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f",
         r.latency.average_ms(), r.latency.quantile_ms(.5), r.latency.quantile_ms(.99),
         r.latency.quantile_ms(.999), r.latency.max_ms());
  printf(",\"client_cpu_s\":%.3f", r.own_cpu);
  if (o.broker_pid > 0 && r.records > 0) {
    printf(",\"broker_cpu_s\":%.2f,\"broker_cpu_s_per_M\":%.4f,\"broker_cpu_s_per_GB\":%.4f",
           r.broker_cpu, r.broker_cpu / millions, r.broker_cpu / gigabytes);
  }
  printf(",\"partitions\":%d,\"errors\":{", topic.partitions);
  const char* comma = "";
  for (auto [code, count] : r.errors) {
    printf("%s\"%d\":%llu", comma, code, static_cast<unsigned long long>(count));
    comma = ",";
  }
  printf("}}\n");
}

}  // namespace

int main(int argc, char** argv) {
  load::Options o = parse(argc, argv);
  load::Cluster cluster(o.bootstrap);
  if (o.mode == "versions") {
    cluster.print_versions();
    return 0;
  }
  if (o.create_partitions > 0) cluster.create(o.topic, o.create_partitions, 1, o.configs);
  load::Topic topic = cluster.find(o.topic, o.create_partitions);
  if (o.mode != "produce" && o.mode != "fetch") load::die("the mode is produce, fetch or versions");
  load::Result result =
      o.mode == "produce" ? load::produce(o, &cluster, topic) : load::fetch(o, &cluster, topic);
  print(o, topic, result);
  return result.errors.empty() ? 0 : 1;
}
