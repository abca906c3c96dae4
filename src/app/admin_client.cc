#include "app/admin_client.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "wire/gen/api_versions.h"

namespace odradek::app {

namespace {

constexpr int kTimeoutSeconds = 30;
constexpr uint32_t kAnswerMax = 256u << 20;

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at <= text.size()) {
    size_t end = std::min(text.find(by, at), text.size());
    if (end > at) out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

}  // namespace

Result<int> dial(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (int rc = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); rc != 0)
    return fail(Errc::kNotFound, fmt::format("cannot resolve {}: {}", host, gai_strerror(rc)));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, freeaddrinfo);
  std::string why = "no address";
  for (addrinfo* a = found; a != nullptr; a = a->ai_next) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) continue;
    timeval limit{kTimeoutSeconds, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
      int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return fd;
    }
    why = strerror(errno);
    close(fd);
  }
  return fail(Errc::kIo, fmt::format("cannot connect to {}:{}: {}", host, port, why));
}

AdminClient::~AdminClient() {
  if (fd_ >= 0) close(fd_);
}

AdminClient::AdminClient(AdminClient&& other) noexcept { *this = std::move(other); }

AdminClient& AdminClient::operator=(AdminClient&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(next_id_, other.next_id_);
  std::swap(peer_, other.peer_);
  std::swap(versions_, other.versions_);
  return *this;
}

Result<AdminClient> AdminClient::connect(const std::string& bootstrap) {
  Error last{Errc::kInvalid, "no bootstrap server given"};
  for (const std::string& server : split(bootstrap, ',')) {
    size_t colon = server.rfind(':');
    std::string host = colon == std::string::npos ? server : server.substr(0, colon);
    std::string port = colon == std::string::npos ? "9092" : server.substr(colon + 1);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    auto fd = dial(host, port);
    if (!fd) {
      last = fd.error();
      continue;
    }
    AdminClient client;
    client.fd_ = *fd;
    client.peer_ = host + ":" + port;
    if (auto r = client.learn_versions(); !r) {
      last = r.error();
      continue;
    }
    return client;
  }
  return std::unexpected(last);
}

Result<void> AdminClient::learn_versions() {
  Arena arena;
  auto answer = call_version<wire::ApiVersionsRequest, wire::ApiVersionsResponse>({}, 0, arena);
  if (!answer) return std::unexpected(answer.error());
  for (const auto& api : answer->api_keys)
    versions_[api.api_key] = {api.min_version, api.max_version};
  return {};
}

Result<int16_t> AdminClient::negotiate(int16_t api, int16_t min, int16_t max) const {
  auto it = versions_.find(api);
  if (it == versions_.end())
    return fail(Errc::kUnsupported, fmt::format("{} does not serve API {}", peer_, api));
  int16_t version = std::min(max, it->second.second);
  if (version < std::max(min, it->second.first))
    return fail(Errc::kUnsupported,
                fmt::format("{} serves API {} in versions {}-{}, this program knows {}-{}", peer_,
                            api, it->second.first, it->second.second, min, max));
  return version;
}

Result<ByteView> AdminClient::receive_frame(Arena& arena) {
  uint8_t size[4];
  if (auto r = receive(size); !r) return std::unexpected(r.error());
  const auto length = load_be<uint32_t>(size);
  if (length < 4 || length > kAnswerMax)
    return fail(Errc::kCorrupt,
                fmt::format("{} answered with a frame of {} bytes: not a broker?", peer_, length));
  auto* data = static_cast<uint8_t*>(arena.allocate(length, 8));
  if (auto r = receive({data, length}); !r) return std::unexpected(r.error());
  return ByteView(data, length);
}

Result<void> AdminClient::send_all(ByteView bytes) {
  while (!bytes.empty()) {
    ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Errc::kIo, fmt::format("{}: {}", peer_, strerror(errno)));
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<void> AdminClient::receive(MutableBytes into) {
  while (!into.empty()) {
    ssize_t n = recv(fd_, into.data(), into.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return fail(Errc::kIo, fmt::format("{} did not answer within {} s", peer_, kTimeoutSeconds));
    if (n < 0) return fail(Errc::kIo, fmt::format("{}: {}", peer_, strerror(errno)));
    if (n == 0) return fail(Errc::kClosed, fmt::format("{} closed the connection", peer_));
    into = into.subspan(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace odradek::app
