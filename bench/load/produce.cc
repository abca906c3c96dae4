// Produce at full speed or at a fixed rate. Requests are encoded once and only patched, and sending
// one is one write, so that the client takes a small share of the machine.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <deque>
#include <tuple>

#include "batch.h"

namespace load {

namespace {

// The last without flexible fields, and so the simplest that carries all we need.
constexpr int kVersion = 8;
constexpr int kEventsAtOnce = 64;

volatile sig_atomic_t g_stop = 0;  // set by SIGTERM: no more requests, wait for the answers

struct Part {
  size_t batch_at = 0;
  int sequence = 0;
};

struct Request {
  std::string bytes;
  std::vector<Part> parts;  // a batch for each of its partitions
};

struct Connection {
  int fd = -1;
  std::vector<Request> requests;  // sent in turn
  size_t turn = 0;
  int correlation = 1;
  int64_t producer_id = -1;
  int producer_epoch = -1;
  const char* unsent = nullptr;
  size_t unsent_size = 0;
  std::deque<std::pair<double, int64_t>> waiting;  // sent at, records
  std::string in;
  size_t in_used = 0;
};

class Producer {
 public:
  Producer(const Options& options, Cluster* cluster, const Topic& topic)
      : o_(options), cluster_(cluster), topic_(topic), batch_(build_batch(options)) {
    if (o_.stamped) {
      stamp_at_ =
          first_value_at(reinterpret_cast<const Byte*>(batch_.bytes.data()), batch_.bytes.size());
    }
    epoll_ = epoll_create1(0);
    for (const auto& [leader, partitions] : topic.by_leader) {
      for (int n = 0; n < o_.connections; n++) {
        connect(topic.brokers.at(leader), partitions, static_cast<size_t>(n));
      }
    }
    for (size_t i = 0; i < all_.size(); i++) {
      epoll_event event{};
      event.events = EPOLLIN | EPOLLOUT | EPOLLET;
      event.data.u64 = i;
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, all_[i].fd, &event) != 0) die("epoll_ctl");
    }
    if (o_.acks == 0) began_at_ = end_offsets();
  }

  Result run() {
    Meter meter(o_.broker_pid);
    next_due_ = meter.began();
    for (;;) {
      double now = now_s();
      bool more = g_stop == 0 && (o_.seconds <= 0 || now - meter.began() < o_.seconds) &&
                  (o_.records <= 0 || sent_ < o_.records);
      if (!more && idle()) break;
      if (o_.rate > 0 && more) {
        for (; next_due_ <= now; next_due_ += 1 / o_.rate) due_.push_back(next_due_);
      }
      if (o_.rate <= 0 || !due_.empty() || unsent_ > 0) {
        for (size_t n = 0; n < all_.size(); n++) send(&all_[(first_ + n) % all_.size()], more);
        first_++;
      }
      wait(more);
    }
    if (o_.acks == 0) until_stored();
    meter.stop(&result_);
    // What could not even be sent until the end has waited at least so long.
    for (double due : due_) result_.latency.add(now_s() - due);
    return std::move(result_);
  }

 private:
  void connect(const Endpoint& where, const std::vector<int>& partitions, size_t number) {
    Connection c;
    c.fd = dial(where);
    if (o_.idempotent) std::tie(c.producer_id, c.producer_epoch) = cluster_->producer_id(c.fd);
    auto together = static_cast<size_t>(o_.partitions_per_request);
    for (size_t first = 0; first < partitions.size(); first += together) {
      std::vector<int> some;
      for (size_t i = first; i < std::min(first + together, partitions.size()); i++) {
        some.push_back(partitions[(i + number) % partitions.size()]);
      }
      c.requests.push_back(encode(some));
    }
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    all_.push_back(std::move(c));
  }

  Request encode(const std::vector<int>& partitions) const {
    Writer w;
    Request request;
    w.bytes = request_header(kProduce, kVersion, false);
    w.null_string();
    w.i16(o_.acks);
    w.i32(30000);
    w.i32(1);
    w.string(topic_.name);
    w.i32(static_cast<int64_t>(partitions.size()));
    for (int p : partitions) {
      w.i32(p);
      w.i32(static_cast<int64_t>(batch_.bytes.size()));
      request.parts.push_back({w.bytes.size(), 0});
      w.bytes += batch_.bytes;
    }
    request.bytes = std::move(w.bytes);
    seal(&request.bytes);
    return request;
  }

  // The sum of the end offsets of all partitions.
  int64_t end_offsets() const {
    int64_t sum = 0;
    for (const auto& [leader, partitions] : topic_.by_leader) {
      int error = 0;
      int fd = dial(topic_.brokers.at(leader));
      for (auto [p, end] : cluster_->offsets(fd, topic_.name, partitions, -1, &error)) sum += end;
      close(fd);
      if (error != 0) die("ListOffsets error " + std::to_string(error));
    }
    return sum;
  }

  // acks=0 has no answers: the records count once they are in the log.
  void until_stored() {
    double patience = now_s() + 60;
    while (end_offsets() - began_at_ < sent_) {
      if (now_s() > patience) die("not all records sent with acks=0 are in the log");
      sleep_ms(1);
    }
    count(sent_);
  }

  void count(int64_t records) {
    result_.records += static_cast<uint64_t>(records);
    result_.bytes += static_cast<uint64_t>(records) * static_cast<uint64_t>(o_.record_bytes);
  }

  bool idle() const {
    for (const Connection& c : all_) {
      if (c.unsent_size > 0 || !c.waiting.empty()) return false;
    }
    return true;
  }

  void patch(const Connection& c, Request* request, double when) const {
    if (!o_.idempotent && !o_.stamped) return;
    for (Part& part : request->parts) {
      Byte* batch = reinterpret_cast<Byte*>(request->bytes.data()) + part.batch_at;
      if (o_.idempotent) {
        put(batch + kProducerAt, static_cast<uint64_t>(c.producer_id), 8);
        put(batch + kEpochAt, static_cast<uint64_t>(c.producer_epoch), 2);
        put(batch + kSequenceAt, static_cast<uint64_t>(part.sequence), 4);
        part.sequence += batch_.records;
      }
      if (o_.stamped) put(batch + stamp_at_, static_cast<uint64_t>(when * 1e9), 8);
      seal_batch(batch, batch_.bytes.size());
    }
  }

  // Makes the next request of a connection the one to be written.
  void start(Connection* c, double when) {
    Request& request = c->requests[c->turn];
    int64_t records = batch_.records * static_cast<int64_t>(request.parts.size());
    put(reinterpret_cast<Byte*>(request.bytes.data()) + 8, static_cast<uint64_t>(c->correlation++),
        4);
    patch(*c, &request, when);
    c->unsent = request.bytes.data();
    c->unsent_size = request.bytes.size();
    unsent_++;
    if (o_.acks != 0) c->waiting.emplace_back(when, records);
    if (o_.acks == 0) result_.requests++;
    c->turn = (c->turn + 1) % c->requests.size();
    sent_ += records;
  }

  void send(Connection* c, bool more) {
    for (;;) {
      if (c->unsent_size == 0) {
        if (!more || static_cast<int>(c->waiting.size()) >= o_.in_flight) return;
        if (o_.records > 0 && sent_ >= o_.records) return;
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
      unsent_--;
    }
  }

  void wait(bool more) {
    timespec limit{0, 50000000};
    if (o_.rate > 0 && more) {
      double left = next_due_ - now_s();
      if (left < 0.05) limit.tv_nsec = left < 0 ? 0 : static_cast<long>(left * 1e9);
    }
    epoll_event events[kEventsAtOnce];
    int n = epoll_pwait2(epoll_, events, kEventsAtOnce, &limit, nullptr);
    if (n < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < n; i++) {
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        while (receive(&all_[events[i].data.u64])) {
        }
      }
    }
  }

  // False when there is nothing left to read.
  bool receive(Connection* c) {
    ssize_t got = read(c->fd, buffer_.data(), buffer_.size());
    if (got == 0) die("connection closed by the broker");
    if (got < 0 && errno == EAGAIN) return false;
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
    return static_cast<size_t>(got) == buffer_.size();
  }

  void answer(Connection* c, Reader r) {
    if (r.i32() != c->correlation - static_cast<int>(c->waiting.size())) {
      die("answers out of order");
    }
    auto [sent_at, records] = c->waiting.front();
    c->waiting.pop_front();
    r.i32();
    r.string();
    for (int n = r.i32(); n > 0; n--) {
      r.i32();
      if (int error = r.i16()) {
        result_.errors[error]++;
        records -= batch_.records;
      }
      r.skip(24);
      for (int bad = r.i32(); bad > 0; bad--) {
        r.i32();
        r.string();
      }
      r.string();
    }
    count(records);
    result_.latency.add(now_s() - sent_at);
    result_.requests++;
  }

  const Options& o_;
  Cluster* cluster_;
  const Topic& topic_;
  Batch batch_;
  size_t stamp_at_ = 0;
  int epoll_ = -1;
  std::vector<Connection> all_;
  std::vector<char> buffer_ = std::vector<char>(1 << 16);
  std::deque<double> due_;  // intended send times, of a fixed rate
  double next_due_ = 0;
  size_t first_ = 0;
  size_t unsent_ = 0;  // connections with a request that is not written as a whole
  int64_t sent_ = 0;
  int64_t began_at_ = 0;
  Result result_;
};

}  // namespace

Result produce(const Options& options, Cluster* cluster, const Topic& topic) {
  if (cluster != nullptr && cluster->max_version(kProduce) < kVersion) {
    die("the broker does not offer Produce v8");
  }
  signal(SIGTERM, [](int) { g_stop = 1; });
  return Producer(options, cluster, topic).run();
}

}  // namespace load
