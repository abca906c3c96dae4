// rawperf: a load generator for any broker that speaks Kafka's protocol, with no client library, to
// find what the broker itself can do and what it costs.
//
//   rawperf produce -b HOST:PORT -t TOPIC [-n RECORDS] [-d SECONDS] [-s RECORD_BYTES]
//           [-B BATCH_BYTES] [-z none|lz4|zstd] [-k] [-i IN_FLIGHT] [-c CONNECTIONS] [-a 0|1|all]
//           [-p PARTITIONS_PER_REQUEST] [-R REQUESTS_PER_S] [-I] [-P BROKER_PID] [--stamp]
//           [--create PARTITIONS] [--conf NAME=VALUE]... [--bare PARTITIONS]
//   rawperf fetch -b HOST:PORT -t TOPIC [-d SECONDS] [-c CONNECTIONS] [--verify] [-P BROKER_PID]
//           [--follow [--stamp] [--max-wait MS]]
//   rawperf versions -b HOST:PORT
//
// A produce run ends after -n records or -d seconds, whatever comes first, or at SIGTERM.
// -B is the target size of one record batch before -z compresses it; -k gives records keys; -c
// connections per leader, each with -i requests outstanding, each request with a batch to each of
// -p partitions; -I makes each connection an idempotent producer; -R paces in an open loop and
// counts latency from the intended send time; -P reads the broker's CPU time and context switches.
// With -a 0 the run ends when all records are in the log. --bare sends to a server that knows no
// other request and answers each the same (bench/limit).
//
// fetch reads a topic once, its partitions shared out among the connections; with --follow each
// connection is a consumer of all of them that starts at the end and waits for what comes. --stamp
// on both sides measures from the intended send of a batch to its arrival at a consumer.
//
// One line of JSON goes to stdout. The exit status is 1 when any answer was an error.
#include <getopt.h>
#include <sys/prctl.h>

#include <optional>

#include "measure.h"

namespace {

enum { kCreate = 256, kConf, kVerify, kStamp, kFollow, kMaxWait, kBare };

constexpr option kLong[] = {{"create", 1, nullptr, kCreate}, {"conf", 1, nullptr, kConf},
                            {"verify", 0, nullptr, kVerify}, {"stamp", 0, nullptr, kStamp},
                            {"follow", 0, nullptr, kFollow}, {"max-wait", 1, nullptr, kMaxWait},
                            {"bare", 1, nullptr, kBare},     {nullptr, 0, nullptr, 0}};

void set_long(load::Options* o, int name, const std::string& text) {
  switch (name) {
    case kCreate:
      o->create_partitions = atoi(text.c_str());
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
    case kStamp:
      o->stamped = true;
      break;
    case kFollow:
      o->follow = true;
      break;
    case kMaxWait:
      o->max_wait_ms = atoi(text.c_str());
      break;
    case kBare:
      o->bare_partitions = atoi(text.c_str());
      break;
    default:
      load::die("usage: see the head of rawperf.cc");
  }
}

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
    case 'p':
      o->partitions_per_request = atoi(value);
      break;
    case 'z':
      o->codec = text;
      break;
    case 'k':
      o->keyed = true;
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
    default:
      set_long(o, name, text);
  }
}

load::Options parse(int argc, char** argv) {
  load::Options o;
  if (argc < 2) load::die("usage: rawperf produce|fetch|versions -b HOST:PORT -t TOPIC ...");
  o.mode = argv[1];
  optind = 2;
  for (int name;
       (name = getopt_long(argc, argv, "b:t:n:d:s:B:z:ki:c:a:p:R:IP:", kLong, nullptr)) != -1;) {
    set(&o, name, optarg);
  }
  bool endless = o.mode == "produce" || o.follow;
  if (o.records == 0 && o.seconds <= 0 && endless) o.seconds = 10;
  return o;
}

void print(const char* name, const load::Histogram& h) {
  printf(",\"%savg_ms\":%.3f,\"%sp50_ms\":%.3f,\"%sp99_ms\":%.3f,\"%sp999_ms\":%.3f", name,
         h.average_ms(), name, h.quantile_ms(.5), name, h.quantile_ms(.99), name,
         h.quantile_ms(.999));
  printf(",\"%smax_ms\":%.3f", name, h.max_ms());
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
  if (!r.latency.empty()) print("", r.latency);
  if (!r.end_to_end.empty()) print("e2e_", r.end_to_end);
  printf(",\"client_cpu_s\":%.3f", r.own_cpu);
  if (o.broker_pid > 0 && r.records > 0) {
    printf(",\"broker_cpu_s\":%.2f,\"broker_cpu_s_per_M\":%.4f,\"broker_cpu_s_per_GB\":%.4f",
           r.broker_cpu, r.broker_cpu / millions, r.broker_cpu / gigabytes);
    printf(",\"broker_switches\":%llu", static_cast<unsigned long long>(r.broker_switches));
  }
  printf(",\"partitions\":%d,\"errors\":{", topic.partitions);
  const char* comma = "";
  for (auto [code, count] : r.errors) {
    printf("%s\"%d\":%llu", comma, code, static_cast<unsigned long long>(count));
    comma = ",";
  }
  printf("}}\n");
}

load::Topic bare_topic(const load::Options& o) {
  load::Topic topic;
  topic.name = o.topic;
  topic.partitions = o.bare_partitions;
  topic.brokers[0] = o.bootstrap;
  for (int p = 0; p < o.bare_partitions; p++) topic.by_leader[0].push_back(p);
  return topic;
}

}  // namespace

int main(int argc, char** argv) {
  load::Options o = parse(argc, argv);
  // Paced sends are to happen when they are due, not 50 µs later.
  prctl(PR_SET_TIMERSLACK, 1);
  std::optional<load::Cluster> cluster;
  load::Topic topic;
  if (o.bare_partitions > 0) {
    topic = bare_topic(o);
  } else {
    cluster.emplace(o.bootstrap);
    if (o.mode == "versions") {
      cluster->print_versions();
      return 0;
    }
    if (o.create_partitions > 0) cluster->create(o.topic, o.create_partitions, 1, o.configs);
    topic = cluster->find(o.topic, o.create_partitions);
  }
  if (o.mode != "produce" && o.mode != "fetch") load::die("the mode is produce, fetch or versions");
  load::Cluster* known = cluster ? &*cluster : nullptr;
  load::Result result =
      o.mode == "produce" ? load::produce(o, known, topic) : load::fetch(o, known, topic);
  print(o, topic, result);
  return result.errors.empty() ? 0 : 1;
}
