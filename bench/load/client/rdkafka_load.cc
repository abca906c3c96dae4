// rdkafka_load: a producer by librdkafka, as applications have it, to see what a broker costs with
// a real client's batches.
//
//   rdkafka_load -b HOST:PORT -t TOPIC -n RECORDS [-d SECONDS] [-s RECORD_BYTES] [-p BROKER_PID]
//                [-X NAME=VALUE]...
//
// Records without keys go to all partitions; latency is from the hand-over to the delivery report,
// of one record in 16. One line of JSON goes to stdout; the exit status is 1 if one was not
// delivered.
#include <getopt.h>
#include <librdkafka/rdkafka.h>

#include <cstdio>
#include <string>

#include "../measure.h"

namespace {

struct Reports {
  load::Histogram latency;
  uint64_t delivered = 0;
  uint64_t failed = 0;
};

[[noreturn]] void fail(const std::string& why) {
  fprintf(stderr, "rdkafka_load: %s\n", why.c_str());
  exit(2);
}

void set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  char error[512];
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof error) != 0) fail(error);
}

// What was handed over with the record: when, in microseconds, or 0.
void reported(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto* reports = static_cast<Reports*>(opaque);
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (reports->failed++ == 0) fprintf(stderr, "%s\n", rd_kafka_err2str(message->err));
    return;
  }
  reports->delivered++;
  const auto sent_us = reinterpret_cast<uintptr_t>(message->_private);
  if (sent_us != 0) reports->latency.add(load::now_s() - static_cast<double>(sent_us) * 1e-6);
}

}  // namespace

int main(int argc, char** argv) {
  std::string topic;
  long long records = 0;
  double seconds = 1e9;
  size_t size = 100;
  int pid = 0;
  Reports reports;
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  set(conf, "queue.buffering.max.messages", "500000");
  for (int o; (o = getopt(argc, argv, "b:t:n:d:s:p:X:")) != -1;) {
    const std::string value = optarg == nullptr ? "" : optarg;
    const size_t equals = value.find('=');
    if (o == 'b') set(conf, "bootstrap.servers", value);
    if (o == 't') topic = value;
    if (o == 'n') records = atoll(optarg);
    if (o == 'd') seconds = atof(optarg);
    if (o == 's') size = static_cast<size_t>(atoi(optarg));
    if (o == 'p') pid = atoi(optarg);
    if (o == 'X' && equals == std::string::npos) fail("-X NAME=VALUE");
    if (o == 'X') set(conf, value.substr(0, equals), value.substr(equals + 1));
    if (o == '?') fail("see the head of rdkafka_load.cc");
  }
  if (topic.empty() || records <= 0) fail("-t TOPIC and -n RECORDS");
  rd_kafka_conf_set_opaque(conf, &reports);
  rd_kafka_conf_set_dr_msg_cb(conf, reported);
  char error[512];
  rd_kafka_t* client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
  if (client == nullptr) fail(error);
  rd_kafka_topic_t* to = rd_kafka_topic_new(client, topic.c_str(), nullptr);
  const struct rd_kafka_metadata* metadata = nullptr;
  if (rd_kafka_metadata(client, 0, to, &metadata, 10'000) != 0) fail("no metadata");
  rd_kafka_metadata_destroy(metadata);

  std::string value(size, 'v');
  const load::Meter meter(pid);
  for (long long i = 0; i < records && load::now_s() < meter.began() + seconds; i++) {
    const double sent_us = i % 16 == 0 ? load::now_s() * 1e6 : 0;
    void* sent = reinterpret_cast<void*>(static_cast<uintptr_t>(sent_us));
    while (rd_kafka_produce(to, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value.data(), size,
                            nullptr, 0, sent) != 0) {
      if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
        fail(rd_kafka_err2str(rd_kafka_last_error()));
      rd_kafka_poll(client, 10);
    }
    if (i % 256 == 0) rd_kafka_poll(client, 0);
  }
  if (rd_kafka_flush(client, 120'000) != 0) fail("not all was delivered in time");
  load::Result result;
  meter.stop(&result);
  printf(
      "{\"records\":%llu,\"bytes\":%llu,\"seconds\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
      "\"p999_ms\":%.3f,\"broker_cpu_s\":%.3f}\n",
      static_cast<unsigned long long>(reports.delivered),
      static_cast<unsigned long long>(reports.delivered * size), result.seconds,
      reports.latency.quantile_ms(0.5), reports.latency.quantile_ms(0.99),
      reports.latency.quantile_ms(0.999), result.broker_cpu);
  rd_kafka_topic_destroy(to);
  rd_kafka_destroy(client);
  return reports.failed == 0 ? 0 : 1;
}
