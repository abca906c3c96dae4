// Fetch a topic from its first offset to the end seen at the start, as fast as the broker gives it;
// or follow its end, as many consumers that each read everything.
#include <poll.h>

#include <algorithm>

#include "batch.h"

namespace load {

namespace {

constexpr int kVersion = 11;
constexpr int kPartitionBytes = 1 << 20, kTotalBytes = 50 << 20;

struct Connection {
  int fd = -1;
  std::map<int, int64_t> next;  // offset to be fetched, of its partitions
  size_t turn = 0;
  int correlation = 1;
  double sent_at = 0;
  std::string in;
  size_t have = 0;
  bool done = false;
};

class Fetcher {
 public:
  Fetcher(const Options& options, Cluster* cluster, const Topic& topic)
      : o_(options), topic_(topic) {
    for (const auto& [leader, partitions] : topic.by_leader) {
      const Endpoint& where = topic.brokers.at(leader);
      int error = 0;
      int fd = dial(where);
      auto first = cluster->offsets(fd, topic.name, partitions, -2, &error);
      auto end = cluster->offsets(fd, topic.name, partitions, -1, &error);
      if (error != 0) die("ListOffsets error " + std::to_string(error));
      close(fd);
      end_.insert(end.begin(), end.end());
      auto count = static_cast<size_t>(o_.connections);
      size_t readers = o_.follow ? count : std::min(count, partitions.size());
      for (size_t n = 0; n < readers; n++) {
        Connection c;
        c.fd = dial(where);
        if (o_.follow) c.next = end;
        for (size_t i = n; i < partitions.size() && !o_.follow; i += count) {
          c.next[partitions[i]] = first[partitions[i]];
        }
        all_.push_back(std::move(c));
      }
    }
  }

  Result run() {
    Meter meter(o_.broker_pid);
    for (Connection& c : all_) ask(&c);
    std::vector<pollfd> polls(all_.size());
    while (std::any_of(all_.begin(), all_.end(), [](const Connection& c) { return !c.done; })) {
      if (o_.seconds > 0 && now_s() - meter.began() > o_.seconds) break;
      for (size_t i = 0; i < all_.size(); i++)
        polls[i] = {all_[i].done ? -1 : all_[i].fd, POLLIN, 0};
      if (poll(polls.data(), polls.size(), 10000) == 0) die("no answer to a fetch in 10 s");
      for (size_t i = 0; i < all_.size(); i++) {
        if (polls[i].revents != 0) receive(&all_[i]);
      }
    }
    meter.stop(&result_);
    return std::move(result_);
  }

 private:
  void ask(Connection* c) {
    std::vector<int> wanted;
    for (auto [p, next] : c->next) {
      if (o_.follow || next < end_[p]) wanted.push_back(p);
    }
    c->done = wanted.empty();
    if (c->done) return;
    std::rotate(wanted.begin(), wanted.begin() + static_cast<long>(c->turn++ % wanted.size()),
                wanted.end());
    Writer w;
    w.bytes = request_header(kFetch, kVersion, false);
    w.i32(-1);
    w.i32(o_.max_wait_ms);
    w.i32(1);
    w.i32(kTotalBytes);
    w.i8(0);
    w.i32(0);
    w.i32(-1);
    w.i32(1);
    w.string(topic_.name);
    w.i32(static_cast<int64_t>(wanted.size()));
    for (int p : wanted) {
      w.i32(p);
      w.i32(-1);
      w.i64(c->next[p]);
      w.i64(-1);
      w.i32(kPartitionBytes);
    }
    w.i32(0);
    w.string("");
    put(reinterpret_cast<Byte*>(w.bytes.data()) + 8, static_cast<uint64_t>(c->correlation++), 4);
    seal(&w.bytes);
    for (size_t sent = 0; sent < w.bytes.size();) {
      ssize_t wrote = write(c->fd, w.bytes.data() + sent, w.bytes.size() - sent);
      if (wrote <= 0) die("write");
      sent += static_cast<size_t>(wrote);
    }
    c->sent_at = now_s();
    c->in.resize(4);
    c->have = 0;
  }

  void receive(Connection* c) {
    ssize_t got = read(c->fd, &c->in[c->have], c->in.size() - c->have);
    if (got <= 0) die("connection closed by the broker");
    c->have += static_cast<size_t>(got);
    if (c->have < c->in.size()) return;
    if (c->have == 4) {
      c->in.resize(4 + get(reinterpret_cast<const Byte*>(c->in.data()), 4));
      return;
    }
    result_.bytes += c->have;
    result_.requests++;
    result_.latency.add(now_s() - c->sent_at);
    answer(c);
    if (!result_.errors.empty()) c->done = true;
    if (!c->done) ask(c);
  }

  void answer(Connection* c) {
    double now = now_s();
    Reader r(reinterpret_cast<const Byte*>(c->in.data()) + 4, c->have - 4);
    if (r.i32() != c->correlation - 1) die("answer to another request");
    r.i32();
    if (int error = r.i16()) result_.errors[error]++;
    r.i32();
    for (int topics = r.i32(); topics > 0; topics--) {
      r.string();
      for (int n = r.i32(); n > 0; n--) {
        int partition = r.i32();
        if (int error = r.i16()) result_.errors[error]++;
        r.skip(24);
        for (int aborted = r.i32(); aborted > 0; aborted--) r.skip(16);
        r.i32();
        int size = r.i32();
        if (size > 0) {
          batches(&c->next[partition], r.take(static_cast<size_t>(size)), static_cast<size_t>(size),
                  now);
        }
      }
    }
  }

  // The last batch of an answer may be cut short.
  void batches(int64_t* expected, const Byte* at, size_t left, double now) {
    while (left >= kBatchHeader) {
      size_t size = 12 + get(at + kLengthAt, 4);
      if (left < size) return;
      auto base = static_cast<int64_t>(get(at, 8));
      if (o_.verify && crc32c(at + kCrcFrom, size - kCrcFrom) != get(at + kCrcAt, 4)) {
        die("bad CRC at offset " + std::to_string(base));
      }
      if (o_.verify && base > *expected) die("gap before offset " + std::to_string(base));
      int64_t next = base + static_cast<int32_t>(get(at + kLastDeltaAt, 4)) + 1;
      if (next > *expected) {
        result_.records += static_cast<uint64_t>(next - *expected);
        *expected = next;
        if (o_.stamped) {
          auto sent = static_cast<double>(get(at + first_value_at(at, size), 8)) / 1e9;
          result_.end_to_end.add(now - sent);
        }
      }
      at += size;
      left -= size;
    }
  }

  const Options& o_;
  const Topic& topic_;
  std::map<int, int64_t> end_;
  std::vector<Connection> all_;
  Result result_;
};

}  // namespace

Result fetch(const Options& options, Cluster* cluster, const Topic& topic) {
  if (cluster->max_version(kFetch) < kVersion) die("the broker does not offer Fetch v11");
  return Fetcher(options, cluster, topic).run();
}

}  // namespace load
