// Produce at full speed or at a fixed rate. Requests are encoded once and only patched, and sending
// one is one write, so that the client takes a small share of the machine.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>

#include <deque>
#include <tuple>

#include "measure.h"

namespace load {

namespace {

constexpr int kVersion =
    8;  // the last without flexible fields, and so the simplest that carries all we need
constexpr size_t kBatchHeader = 61;
constexpr size_t kCrcAt = 17, kCrcFrom = 21, kProducerAt = 43, kEpochAt = 51, kSequenceAt = 53;

struct Batch {
  std::string bytes;
  int records = 0;
};

// Values are letters drawn like those of Apache's producer benchmark, so that codecs find the same
// in both.
Batch build_batch(const Options& o) {
  Writer records;
  Batch batch;
  uint64_t x = 88172645463325252ULL;
  auto record_bytes = static_cast<size_t>(o.record_bytes);
  auto limit = static_cast<size_t>(o.batch_bytes);
  while (batch.records == 0 || records.bytes.size() + kBatchHeader + record_bytes + 12 <= limit) {
    Writer r;
    r.i8(0);
    r.varint(0);
    r.varint(batch.records);
    r.varint(-1);
    r.varint(o.record_bytes);
    for (size_t i = 0; i < record_bytes; i++) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      r.bytes.push_back(static_cast<char>('A' + x % 26));
    }
    r.varint(0);
    records.varint(static_cast<int64_t>(r.bytes.size()));
    records.bytes += r.bytes;
    batch.records++;
  }
  int64_t time = static_cast<int64_t>(::time(nullptr)) * 1000;
  Writer tail;
  tail.i16(0);
  tail.i32(batch.records - 1);
  tail.i64(time);
  tail.i64(time);
  tail.i64(-1);
  tail.i16(-1);
  tail.i32(-1);
  tail.i32(batch.records);
  tail.bytes += records.bytes;
  Writer head;
  head.i64(0);
  head.i32(9 + static_cast<int64_t>(tail.bytes.size()));
  head.i32(-1);
  head.i8(2);
  head.i32(crc32c(reinterpret_cast<const Byte*>(tail.bytes.data()), tail.bytes.size()));
  batch.bytes = head.bytes + tail.bytes;
  return batch;
}

struct Request {
  std::string bytes;
  size_t batch_at = 0;
  int sequence = 0;
};

struct Connection {
  int fd = -1;
  std::vector<Request> requests;  // one for each partition, sent in turn
  size_t turn = 0;
  int correlation = 1;
  int64_t producer_id = -1;
  int producer_epoch = -1;
  const char* unsent = nullptr;
  size_t unsent_size = 0;
  std::deque<double> sent_at;
  std::string in;
  size_t in_used = 0;
};

class Producer {
 public:
  Producer(const Options& options, Cluster* cluster, const Topic& topic)
      : o_(options), batch_(build_batch(options)) {
    for (const auto& [leader, partitions] : topic.by_leader) {
      for (int n = 0; n < o_.connections; n++) {
        connect(cluster, topic, topic.brokers.at(leader), partitions, static_cast<size_t>(n));
      }
    }
  }

  Result run() {
    Meter meter(o_.broker_pid);
    next_due_ = meter.began();
    for (;;) {
      double now = now_s();
      bool more = o_.seconds > 0 ? now - meter.began() < o_.seconds : sent_ < o_.records;
      if (!more && idle()) break;
      if (o_.rate > 0 && more) {
        for (; next_due_ <= now; next_due_ += 1 / o_.rate) due_.push_back(next_due_);
      }
      for (size_t n = 0; n < all_.size(); n++) send(&all_[(first_ + n) % all_.size()], more);
      first_++;
      wait(more);
    }
    meter.stop(&result_);
    return std::move(result_);
  }

 private:
  void connect(Cluster* cluster, const Topic& topic, const Endpoint& where,
               const std::vector<int>& partitions, size_t number) {
    Connection c;
    c.fd = dial(where);
    if (o_.idempotent) std::tie(c.producer_id, c.producer_epoch) = cluster->producer_id(c.fd);
    for (size_t i = 0; i < partitions.size(); i++) {
      Writer w;
      w.bytes = request_header(kProduce, kVersion, false);
      w.null_string();
      w.i16(o_.acks);
      w.i32(30000);
      w.i32(1);
      w.string(topic.name);
      w.i32(1);
      w.i32(partitions[(i + number) % partitions.size()]);
      w.i32(static_cast<int64_t>(batch_.bytes.size()));
      Request request;
      request.batch_at = w.bytes.size();
      request.bytes = w.bytes + batch_.bytes;
      seal(&request.bytes);
      c.requests.push_back(std::move(request));
    }
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    all_.push_back(std::move(c));
  }

  bool idle() const {
    for (const Connection& c : all_) {
      if (c.unsent_size > 0 || !c.sent_at.empty()) return false;
    }
    return true;
  }

  // Makes the next request of a connection the one to be written.
  void start(Connection* c, double when) {
    Request& request = c->requests[c->turn];
    auto* bytes = reinterpret_cast<Byte*>(request.bytes.data());
    put(bytes + 8, static_cast<uint64_t>(c->correlation++), 4);
    if (o_.idempotent) {
      Byte* batch = bytes + request.batch_at;
      put(batch + kProducerAt, static_cast<uint64_t>(c->producer_id), 8);
      put(batch + kEpochAt, static_cast<uint64_t>(c->producer_epoch), 2);
      put(batch + kSequenceAt, static_cast<uint64_t>(request.sequence), 4);
      put(batch + kCrcAt, crc32c(batch + kCrcFrom, batch_.bytes.size() - kCrcFrom), 4);
      request.sequence += batch_.records;
    }
    c->unsent = request.bytes.data();
    c->unsent_size = request.bytes.size();
    c->sent_at.push_back(when);
    c->turn = (c->turn + 1) % c->requests.size();
    sent_ += batch_.records;
  }

  void send(Connection* c, bool more) {
    for (;;) {
      if (c->unsent_size == 0) {
        if (!more || static_cast<int>(c->sent_at.size()) >= o_.in_flight) return;
        if (o_.seconds <= 0 && sent_ >= o_.records) return;
        if (o_.rate > 0) {
          if (due_.empty()) return;
          start(c, due_.front());
          due_.pop_front();
        } else {
          start(c, now_s());
        }
      }
      ssize_t wrote = write(c->fd, c->unsent, c->unsent_size);
      if (wrote < 0 && errno == EAGAIN) return;
      if (wrote < 0) die(std::string("write: ") + strerror(errno));
      c->unsent += wrote;
      c->unsent_size -= static_cast<size_t>(wrote);
      if (c->unsent_size > 0) return;
    }
  }

  void wait(bool more) {
    polls_.resize(all_.size());
    for (size_t i = 0; i < all_.size(); i++) {
      short events = all_[i].unsent_size > 0 ? POLLIN | POLLOUT : POLLIN;
      polls_[i] = {all_[i].fd, events, 0};
    }
    timespec limit{0, 50000000};
    if (o_.rate > 0 && more) {
      double left = next_due_ - now_s();
      if (left < 0.05) limit.tv_nsec = left < 0 ? 0 : static_cast<long>(left * 1e9);
    }
    if (ppoll(polls_.data(), polls_.size(), &limit, nullptr) < 0 && errno != EINTR) die("poll");
    for (size_t i = 0; i < all_.size(); i++) {
      if (polls_[i].revents & (POLLIN | POLLHUP | POLLERR)) receive(&all_[i]);
    }
  }

  void receive(Connection* c) {
    ssize_t got = read(c->fd, buffer_.data(), buffer_.size());
    if (got == 0) die("connection closed by the broker");
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) die(std::string("read: ") + strerror(errno));
    c->in.append(buffer_.data(), static_cast<size_t>(got));
    while (c->in.size() - c->in_used >= 4) {
      const auto* at = reinterpret_cast<const Byte*>(c->in.data()) + c->in_used;
      size_t size = get(at, 4);
      if (c->in.size() - c->in_used < 4 + size) break;
      answer(c, Reader(at + 4, size));
      c->in_used += 4 + size;
    }
    if (c->in_used == c->in.size()) {
      c->in.clear();
      c->in_used = 0;
    }
  }

  void answer(Connection* c, Reader r) {
    if (r.i32() != c->correlation - static_cast<int>(c->sent_at.size()))
      die("answers out of order");
    r.i32();
    r.string();
    r.i32();
    r.i32();
    int error = r.i16();
    if (error != 0) {
      result_.errors[error]++;
    } else {
      result_.records += static_cast<uint64_t>(batch_.records);
      result_.bytes +=
          static_cast<uint64_t>(batch_.records) * static_cast<uint64_t>(o_.record_bytes);
    }
    result_.latency.add(now_s() - c->sent_at.front());
    result_.requests++;
    c->sent_at.pop_front();
  }

  const Options& o_;
  Batch batch_;
  std::vector<Connection> all_;
  std::vector<pollfd> polls_;
  std::vector<char> buffer_ = std::vector<char>(1 << 16);
  std::deque<double> due_;  // intended send times, of a fixed rate
  double next_due_ = 0;
  size_t first_ = 0;
  int64_t sent_ = 0;
  Result result_;
};

}  // namespace

Result produce(const Options& options, Cluster* cluster, const Topic& topic) {
  if (options.acks == 0) die("acks=0 has no answer to measure; use 1 or all");
  if (cluster->max_version(kProduce) < kVersion) die("the broker does not offer Produce v8");
  return Producer(options, cluster, topic).run();
}

}  // namespace load
