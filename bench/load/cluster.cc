#include "cluster.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace load {

namespace {
constexpr int kTopicAlreadyExists = 36;
constexpr int kCoordinatorErrors[] = {14, 15, 16};  // loading, not available, elsewhere: ask again
constexpr double kPatience_s = 60;
}  // namespace

double now_s() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

void sleep_ms(int ms) { usleep(static_cast<useconds_t>(ms) * 1000); }

Endpoint parse_endpoint(const std::string& text) {
  size_t colon = text.rfind(':');
  if (colon == std::string::npos) die("-b HOST:PORT");
  return {text.substr(0, colon), atoi(text.c_str() + colon + 1)};
}

int dial(const Endpoint& where) {
  addrinfo hints{};
  addrinfo* found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &found) != 0) {
    die("cannot resolve " + where.host);
  }
  int fd = -1;
  for (addrinfo* a = found; a != nullptr && fd < 0; a = a->ai_next) {
    fd = socket(a->ai_family, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
      close(fd);
      fd = -1;
    }
  }
  freeaddrinfo(found);
  if (fd < 0) die("cannot connect to " + where.host + ":" + std::to_string(where.port));
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

std::string request_header(int api, int version, bool flexible) {
  Writer w;
  w.i32(0);
  w.i16(api);
  w.i16(version);
  w.i32(0);
  w.string("rawperf");
  if (flexible) w.no_tags();
  return w.bytes;
}

void seal(std::string* message) {
  put(reinterpret_cast<Byte*>(message->data()), message->size() - 4, 4);
}

static std::string read_exactly(int fd, size_t size) {
  std::string data(size, 0);
  for (size_t have = 0; have < size;) {
    ssize_t got = read(fd, &data[have], size - have);
    if (got <= 0) die("connection closed by the broker");
    have += static_cast<size_t>(got);
  }
  return data;
}

std::string call(int fd, std::string message) {
  seal(&message);
  for (size_t sent = 0; sent < message.size();) {
    ssize_t wrote = write(fd, message.data() + sent, message.size() - sent);
    if (wrote <= 0) die("write");
    sent += static_cast<size_t>(wrote);
  }
  std::string size = read_exactly(fd, 4);
  return read_exactly(fd, get(reinterpret_cast<const Byte*>(size.data()), 4)).substr(4);
}

Cluster::Cluster(const Endpoint& bootstrap) : fd_(dial(bootstrap)) {
  std::string answer = call(fd_, request_header(kApiVersions, 0, false));
  Reader r(answer);
  if (int error = r.i16()) die("ApiVersions error " + std::to_string(error));
  for (int n = r.i32(); n > 0; n--) {
    int key = r.i16();
    int low = r.i16();
    versions_[key] = {low, r.i16()};
  }
}

int Cluster::version(int api, int wanted) const {
  auto found = versions_.find(api);
  if (found == versions_.end()) die("api " + std::to_string(api) + " is not offered");
  if (wanted > found->second.second) return found->second.second;
  return wanted < found->second.first ? found->second.first : wanted;
}

int Cluster::max_version(int api) const { return version(api, 32767); }

void Cluster::print_versions() const {
  for (const auto& [api, range] : versions_) printf("%d %d %d\n", api, range.first, range.second);
}

void Cluster::create(const std::string& topic, int partitions, int factor,
                     const std::vector<std::pair<std::string, std::string>>& configs) {
  Writer w;
  w.bytes = request_header(kCreateTopics, version(kCreateTopics, 2), false);
  w.i32(1);
  w.string(topic);
  w.i32(partitions);
  w.i16(factor);
  w.i32(0);
  w.i32(static_cast<int64_t>(configs.size()));
  for (const auto& [name, value] : configs) {
    w.string(name);
    w.string(value);
  }
  w.i32(30000);
  w.i8(0);
  std::string answer = call(fd_, w.bytes);
  Reader r(answer);
  r.i32();
  r.i32();
  r.string();
  int error = r.i16();
  if (error != 0 && error != kTopicAlreadyExists)
    die("CreateTopics error " + std::to_string(error));
}

// Metadata v12, for the topic id. False while a partition has no leader.
bool Cluster::metadata(Topic* topic) const {
  if (max_version(kMetadata) < 12) die("the broker does not offer Metadata v12");
  Writer w;
  w.bytes = request_header(kMetadata, 12, true);
  w.uvarint(2);
  w.bytes += std::string(16, '\0');
  w.compact_string(topic->name);
  w.no_tags();
  w.i8(0);
  w.i8(0);
  w.no_tags();
  std::string answer = call(fd_, w.bytes);
  Reader r(answer);
  r.tags();
  r.i32();
  for (uint64_t n = r.count(true); n > 0; n--) {
    int id = r.i32();
    std::string host = r.compact_string();
    topic->brokers[id] = {host, r.i32()};
    r.compact_string();
    r.tags();
  }
  r.compact_string();
  r.i32();
  if (r.count(true) != 1) return false;
  int error = r.i16();
  r.compact_string();
  topic->id = r.text(16);
  r.i8();
  topic->by_leader.clear();
  topic->partitions = 0;
  bool all = error == 0;
  for (uint64_t n = r.count(true); n > 0; n--) {
    r.i16();
    int id = r.i32();
    int leader = r.i32();
    r.i32();
    for (int list = 0; list < 3; list++) r.skip(4 * r.count(true));
    r.tags();
    topic->by_leader[leader].push_back(id);
    topic->partitions++;
    all = all && topic->brokers.count(leader) > 0;
  }
  return all && topic->partitions > 0;
}

Topic Cluster::find(const std::string& name, int at_least) {
  Topic topic;
  topic.name = name;
  double end = now_s() + kPatience_s;
  while (!metadata(&topic) || topic.partitions < at_least) {
    if (now_s() > end) die("topic " + name + " has no leaders");
    sleep_ms(20);
  }
  // A leader named by Metadata may not have taken office yet: ask until it answers.
  for (const auto& [leader, partitions] : topic.by_leader) {
    int fd = dial(topic.brokers[leader]);
    int error = 0;
    while (offsets(fd, name, partitions, -1, &error), error != 0) {
      if (now_s() > end) die("ListOffsets error " + std::to_string(error));
      sleep_ms(20);
    }
    close(fd);
  }
  return topic;
}

std::map<int, int64_t> Cluster::offsets(int fd, const std::string& topic,
                                        const std::vector<int>& partitions, int64_t time,
                                        int* error) const {
  Writer w;
  w.bytes = request_header(kListOffsets, version(kListOffsets, 1), false);
  w.i32(-1);
  w.i32(1);
  w.string(topic);
  w.i32(static_cast<int64_t>(partitions.size()));
  for (int p : partitions) {
    w.i32(p);
    w.i64(time);
  }
  std::string answer = call(fd, w.bytes);
  Reader r(answer);
  std::map<int, int64_t> found;
  r.i32();
  r.string();
  *error = 0;
  for (int n = r.i32(); n > 0; n--) {
    int partition = r.i32();
    if (int e = r.i16()) *error = e;
    r.i64();
    found[partition] = r.i64();
  }
  return found;
}

std::pair<int64_t, int> Cluster::producer_id(int fd) const {
  Writer w;
  w.bytes = request_header(kInitProducerId, 1, false);
  w.null_string();
  w.i32(60000);
  for (double end = now_s() + kPatience_s;; sleep_ms(50)) {
    std::string answer = call(fd, w.bytes);
    Reader r(answer);
    r.i32();
    int error = r.i16();
    if (error == 0) {
      int64_t id = r.i64();
      return {id, r.i16()};
    }
    bool again = false;
    for (int known : kCoordinatorErrors) again = again || error == known;
    if (!again || now_s() > end) die("InitProducerId error " + std::to_string(error));
  }
}

}  // namespace load
