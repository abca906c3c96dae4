// What the load generator must know of a cluster before it starts: versions, leaders, topic ids.
// All calls block.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "codec.h"

namespace load {

enum Api : int16_t {
  kProduce = 0,
  kFetch = 1,
  kListOffsets = 2,
  kMetadata = 3,
  kApiVersions = 18,
  kCreateTopics = 19,
  kInitProducerId = 22,
};

struct Endpoint {
  std::string host;
  int port = 0;
};

struct Topic {
  std::string name;
  std::string id;                             // 16 bytes; empty from old brokers
  std::map<int, std::vector<int>> by_leader;  // partitions of each leader
  std::map<int, Endpoint> brokers;
  int partitions = 0;
};

Endpoint parse_endpoint(const std::string& text);

// A connected socket with TCP_NODELAY.
int dial(const Endpoint& where);

// A request header with room for the size in front; seal() fills that in.
std::string request_header(int api, int version, bool flexible);
void seal(std::string* message);

// Sends one request and returns its answer after the correlation id.
std::string call(int fd, std::string message);

class Cluster {
 public:
  explicit Cluster(const Endpoint& bootstrap);

  // The highest version both sides know, at most `wanted`.
  int version(int api, int wanted) const;
  int max_version(int api) const;
  void print_versions() const;

  // CreateTopics; a topic that exists is fine.
  void create(const std::string& topic, int partitions, int factor,
              const std::vector<std::pair<std::string, std::string>>& configs);

  // Waits until every partition has a leader that answers. `at_least` partitions must be there.
  Topic find(const std::string& topic, int at_least);

  // A new idempotent producer's id and epoch.
  std::pair<int64_t, int> producer_id(int fd) const;

  // Offsets of partitions at their leader: time -2 is the first, -1 the end.
  std::map<int, int64_t> offsets(int fd, const std::string& topic,
                                 const std::vector<int>& partitions, int64_t time,
                                 int* error) const;

 private:
  bool metadata(Topic* topic) const;

  int fd_;
  std::map<int, std::pair<int, int>> versions_;
};

double now_s();
void sleep_ms(int ms);

}  // namespace load
