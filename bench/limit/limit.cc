// limit: the least that a broker can do, to be measured beside one.
//
//   limit serve PORT FILE [--sync]
//   limit fdatasync FILE SECONDS BYTES [INTERVAL_US]
//
// serve takes any request, appends its bytes to FILE and answers it as a Produce request (v8) of
// one batch is answered, whatever it was: one thread, one read for each readable connection, one
// write for each request, all answers of a turn after its appends and, with --sync, after one
// fdatasync for all of them. It checks nothing: what rawperf --bare sends is known to be right.
//
// fdatasync appends BYTES to FILE and syncs it, over and over or every INTERVAL_US, and prints how
// long the syncs took as one line of JSON.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr size_t kBuffer = 4 << 20;  // holds the largest request and what comes behind it
constexpr int kEventsAtOnce = 128;
constexpr size_t kCorrelationAt = 4;

[[noreturn]] void die(const std::string& what) {
  fprintf(stderr, "limit: %s: %s\n", what.c_str(), strerror(errno));
  exit(2);
}

double now_s() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

class File {
 public:
  explicit File(const char* path) : fd_(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (fd_ < 0) die(path);
  }
  void append(const char* bytes, size_t size) {
    if (pwrite(fd_, bytes, size, at_) != static_cast<ssize_t>(size)) die("pwrite");
    at_ += static_cast<off_t>(size);
  }
  void sync() const {
    if (fdatasync(fd_) != 0) die("fdatasync");
  }

 private:
  int fd_;
  off_t at_ = 0;
};

// The answer to a Produce request: one topic without a name, its partition 0, no error.
std::string produce_answer() {
  constexpr size_t kSize = 4 + 4 + 4 + 2 + 4 + 4 + 2 + 24 + 4 + 2 + 4;
  std::string bytes(kSize, 0);
  bytes[3] = kSize - 4;
  bytes[11] = 1;                   // topics
  bytes[17] = 1;                   // partitions
  bytes[52] = bytes[53] = '\xff';  // no message
  return bytes;
}

struct Connection {
  int fd = -1;
  std::unique_ptr<char[]> in = std::make_unique_for_overwrite<char[]>(kBuffer);
  size_t begin = 0, end = 0;
  std::string out;
  bool waits_to_write = false;
};

class Server {
 public:
  Server(int port, const char* path, bool synced) : file_(path), synced_(synced) {
    epoll_ = epoll_create1(0);
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<uint16_t>(port));
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0) die("bind");
    if (listen(listener_, 512) != 0) die("listen");
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
  }

  [[noreturn]] void run() {
    epoll_event events[kEventsAtOnce];
    for (;;) {
      int n = epoll_wait(epoll_, events, kEventsAtOnce, -1);
      bool appended = false;
      for (int i = 0; i < n; i++) {
        auto* c = static_cast<Connection*>(events[i].data.ptr);
        if (c == nullptr) {
          accept_one();
        } else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
          appended = receive(c) || appended;
        }
      }
      if (synced_ && appended) file_.sync();
      for (int i = 0; i < n; i++) {
        auto* c = static_cast<Connection*>(events[i].data.ptr);
        if (c != nullptr) answer(c);
      }
    }
  }

 private:
  void watch(int change, int fd, uint32_t events, Connection* c) const {
    epoll_event event{};
    event.events = events;
    event.data.ptr = c;
    if (epoll_ctl(epoll_, change, fd, &event) != 0) die("epoll_ctl");
  }

  void accept_one() {
    int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto* c = new Connection;
    c->fd = fd;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN, c);
  }

  // One read; appends every request that is complete. True when there was one.
  bool receive(Connection* c) {
    if (c->begin == c->end) c->begin = c->end = 0;
    if (c->begin > 0 && kBuffer - c->end < kBuffer / 2) {
      memmove(c->in.get(), c->in.get() + c->begin, c->end - c->begin);
      c->end -= c->begin;
      c->begin = 0;
    }
    ssize_t got = recv(c->fd, c->in.get() + c->end, kBuffer - c->end, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) {
      close(c->fd);
      c->fd = -1;
      return false;
    }
    c->end += static_cast<size_t>(got);
    bool any = false;
    for (;; any = true) {
      uint32_t size = 0;
      if (c->end - c->begin < 4) return any;
      memcpy(&size, c->in.get() + c->begin, 4);
      size = ntohl(size);
      if (c->end - c->begin - 4 < size) return any;
      const char* request = c->in.get() + c->begin + 4;
      file_.append(request, size);
      c->out += kAnswer;
      memcpy(c->out.data() + c->out.size() - kAnswer.size() + 4, request + kCorrelationAt, 4);
      c->begin += 4 + size;
    }
  }

  void answer(Connection* c) {
    if (c->fd < 0) {
      delete c;
      return;
    }
    while (!c->out.empty()) {
      ssize_t wrote = send(c->fd, c->out.data(), c->out.size(), MSG_NOSIGNAL);
      if (wrote < 0) break;
      c->out.erase(0, static_cast<size_t>(wrote));
    }
    if (c->waits_to_write == c->out.empty()) {
      c->waits_to_write = !c->out.empty();
      watch(EPOLL_CTL_MOD, c->fd, c->waits_to_write ? EPOLLIN | EPOLLOUT : EPOLLIN, c);
    }
  }

  const std::string kAnswer = produce_answer();
  File file_;
  bool synced_;
  int epoll_ = -1;
  int listener_ = -1;
};

int measure_fdatasync(const char* path, double seconds, size_t size, double interval_s) {
  File file(path);
  std::string bytes(size, 'x');
  std::vector<double> took;
  double end = now_s() + seconds;
  prctl(PR_SET_TIMERSLACK, 1);
  for (double due = now_s(); now_s() < end; due += interval_s) {
    double left = due - now_s();
    if (interval_s > 0 && left > 0) {
      timespec pause{0, static_cast<long>(left * 1e9)};
      nanosleep(&pause, nullptr);
    }
    file.append(bytes.data(), size);
    double began = now_s();
    file.sync();
    took.push_back((now_s() - began) * 1e3);
  }
  std::sort(took.begin(), took.end());
  auto quantile = [&](double p) {
    return took[static_cast<size_t>(p * static_cast<double>(took.size()))];
  };
  printf("{\"syncs\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f}\n", took.size(),
         quantile(.5), quantile(.99), quantile(.999));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string mode = argc > 3 ? argv[1] : "";
  if (mode == "serve") {
    Server(atoi(argv[2]), argv[3], argc > 4 && std::string(argv[4]) == "--sync").run();
  }
  if (mode == "fdatasync" && argc > 4) {
    double interval_s = argc > 5 ? atof(argv[5]) / 1e6 : 0;
    return measure_fdatasync(argv[2], atof(argv[3]), static_cast<size_t>(atoi(argv[4])),
                             interval_s);
  }
  fprintf(stderr, "usage: see the head of limit.cc\n");
  return 2;
}
