#include "io/linux/linux_net.h"

#include <netinet/in.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <limits>

#include "base/check.h"
#include "io/linux/errors.h"
#include "io/linux/linux_file.h"

namespace odradek::io {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

/// File pieces up to this are read into memory and sent together with their neighbours; longer ones
/// go by sendfile, one call each.
constexpr uint64_t kSendfileMin = 16 * 1024 + 1;
constexpr size_t kPiecesPerCall = 64;
constexpr int kAcceptsPerTurn = 64;
constexpr std::chrono::milliseconds kAcceptPause(100);

Endpoint endpoint_of(const tcp::endpoint& e) {
  asio::ip::address address = e.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return {address.to_string(), e.port()};
}

Error error_of(const error_code& ec) {
  if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) {
    return {Errc::kClosed, "the socket was closed"};
  }
  return {errc_of(ec.value()), ec.message()};
}

// ------------------------------------------------------------------------------------------------
// a connected socket

/// Lives as long as the Socket or an operation that is under way.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  Stream(LinuxLoop& loop, tcp::socket socket) : loop_(loop), socket_(std::move(socket)) {}

  void start_read(MutableBytes into, Completion<Result<size_t>>& done) {
    // Asio tries recv at once and waits for the reactor only when there is nothing.
    socket_.async_read_some(asio::buffer(into.data(), into.size()),
                            [self = shared_from_this(), &done](const error_code& ec, size_t n) {
                              self->loop_.enter();
                              if (ec == asio::error::eof) {
                                done.complete(0);
                              } else if (ec) {
                                done.complete(std::unexpected(error_of(ec)));
                              } else {
                                done.complete(n);
                              }
                            });
  }

  void start_write(const Chain& chain, Completion<Result<void>>& done) {
    ODRADEK_CHECK(writer_ == nullptr);
    chain_ = &chain;
    index_ = 0;
    offset_ = 0;
    writer_ = &done;
    go_on();
  }

  void close() {
    error_code ignored;
    socket_.close(ignored);
  }

  /// The same descriptor under another loop's reactor.
  tcp::socket release_to(LinuxLoop& loop) {
    ODRADEK_CHECK(writer_ == nullptr);
    tcp::socket moved(loop.context());
    error_code ec;
    tcp::endpoint local = socket_.local_endpoint(ec);
    int fd = ec ? -1 : socket_.release(ec);
    if (!ec) moved.assign(local.protocol(), fd, ec);
    if (ec && fd >= 0) ::close(fd);
    return moved;  // not open if the connection is gone: the first read says so
  }

 private:
  enum class Sent { kSome, kBlocked, kFailed };

  void go_on() {
    Result<void> result;
    while (index_ < chain_->pieces().size()) {
      Sent sent = socket_.is_open() ? send_some(result) : closed(result);
      if (sent == Sent::kFailed) break;
      if (sent == Sent::kBlocked) return wait();
    }
    chain_ = nullptr;
    std::exchange(writer_, nullptr)->complete(std::move(result));
  }

  void wait() {
    socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](const error_code&) {
      self->loop_.enter();
      self->go_on();  // an error shows in the next send
    });
  }

  Sent closed(Result<void>& result) {
    result = fail(Errc::kClosed, "the socket was closed");
    return Sent::kFailed;
  }

  Sent failed(int error, Result<void>& result) {
    if (error == EAGAIN || error == EWOULDBLOCK) return Sent::kBlocked;
    if (error == EINTR) return Sent::kSome;
    result = os_error(error, "send");
    return Sent::kFailed;
  }

  /// A file ended before its piece did: what was promised cannot be sent any more.
  Sent cut_short(Result<void>& result) {
    auto& count = loop_.counters().short_files;
    count.fetch_add(1, std::memory_order_relaxed);
    close();
    result = fail(Errc::kClosed, "a file was cut while it was being sent");
    return Sent::kFailed;
  }

  static LinuxFile& file_of(const Piece& piece) {
    auto* file = dynamic_cast<LinuxFile*>(piece.source.get());
    ODRADEK_CHECK(file != nullptr);
    return *file;
  }
  static bool by_sendfile(const Piece& piece) {
    return piece.source != nullptr && piece.length >= kSendfileMin;
  }

  Sent send_some(Result<void>& result) {
    return by_sendfile(chain_->pieces()[index_]) ? send_file(result) : send_memory(result);
  }

  static ssize_t send_parts(int fd, std::span<iovec> parts, int flags) {
    if (parts.size() == 1) return ::send(fd, parts[0].iov_base, parts[0].iov_len, flags);
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    return ::sendmsg(fd, &message, flags);
  }

  Sent send_memory(Result<void>& result) {
    const std::vector<Piece>& pieces = chain_->pieces();
    std::array<iovec, kPiecesPerCall> parts;
    size_t count = 0;
    MutableBytes room = loop_.scratch();
    uint64_t total = 0;
    size_t i = index_;
    for (; i < pieces.size() && count < parts.size() && !by_sendfile(pieces[i]); i++) {
      const Piece& piece = pieces[i];
      uint64_t skip = i == index_ ? offset_ : 0;
      uint64_t length = piece.size() - skip;
      const uint8_t* bytes = piece.source != nullptr ? nullptr : piece.memory.data() + skip;
      if (piece.source != nullptr) {
        if (room.size() < length) break;
        auto n = file_of(piece).read(piece.position + skip, room.first(length));
        if (!n || *n < length) return cut_short(result);
        bytes = room.data();
        room = room.subspan(length);
      }
      parts[count++] = {const_cast<uint8_t*>(bytes), length};
      total += length;
    }
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (i < pieces.size() ? MSG_MORE : 0);
    const ssize_t n = send_parts(socket_.native_handle(), {parts.data(), count}, flags);
    if (n < 0) return failed(errno, result);
    advance(static_cast<uint64_t>(n));
    return static_cast<uint64_t>(n) < total ? Sent::kBlocked : Sent::kSome;
  }

  Sent send_file(Result<void>& result) {
    const Piece& piece = chain_->pieces()[index_];
    LinuxFile::Use use(file_of(piece));
    if (use.fd() < 0) {
      result = os_error(-use.fd(), "sendfile");
      return Sent::kFailed;
    }
    off_t position = static_cast<off_t>(piece.position + offset_);
    ssize_t n = ::sendfile(socket_.native_handle(), use.fd(), &position, piece.length - offset_);
    if (n < 0) return failed(errno, result);
    if (n == 0) return cut_short(result);
    auto& bytes = loop_.counters().sendfile_bytes;
    bytes.fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
    advance(static_cast<uint64_t>(n));
    return Sent::kSome;
  }

  void advance(uint64_t n) {
    const std::vector<Piece>& pieces = chain_->pieces();
    while (index_ < pieces.size() && n >= pieces[index_].size() - offset_) {
      n -= pieces[index_].size() - offset_;
      index_++;
      offset_ = 0;
    }
    offset_ += n;
  }

  LinuxLoop& loop_;
  tcp::socket socket_;
  const Chain* chain_ = nullptr;
  size_t index_ = 0;     // the piece to go on with
  uint64_t offset_ = 0;  // and how much of it is sent
  Completion<Result<void>>* writer_ = nullptr;
};

class LinuxSocket : public Socket {
 public:
  LinuxSocket(LinuxLoop& loop, tcp::socket socket, Endpoint peer)
      : stream_(std::make_shared<Stream>(loop, std::move(socket))), peer_(std::move(peer)) {}
  ~LinuxSocket() override { stream_->close(); }
  void start_read(MutableBytes into, Completion<Result<size_t>>& done) override {
    stream_->start_read(into, done);
  }
  void start_write(const Chain& chain, Completion<Result<void>>& done) override {
    stream_->start_write(chain, done);
  }
  void close() override { stream_->close(); }
  const Endpoint& peer() const override { return peer_; }
  std::unique_ptr<Socket> move_to(Loop& loop) override {
    auto& target = static_cast<LinuxLoop&>(loop);
    return std::make_unique<LinuxSocket>(target, stream_->release_to(target), peer_);
  }

 private:
  std::shared_ptr<Stream> stream_;
  Endpoint peer_;
};

// ------------------------------------------------------------------------------------------------
// listening

class Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(LinuxLoop& loop, tcp::acceptor acceptor, Net::OnAccept on_accept)
      : loop_(loop),
        acceptor_(std::move(acceptor)),
        pause_(loop.context()),
        on_accept_(std::move(on_accept)) {}

  void wait() {
    acceptor_.async_wait(tcp::acceptor::wait_read,
                         [self = shared_from_this()](const error_code& ec) {
                           if (ec) return;
                           self->loop_.enter();
                           self->accept_some();
                         });
  }

  void close() {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  }

 private:
  void accept_some() {
    for (int i = 0; i < kAcceptsPerTurn && acceptor_.is_open(); i++) {
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      int fd = ::accept4(acceptor_.native_handle(), reinterpret_cast<sockaddr*>(&address), &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        adopt(fd, address, size);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // The connection stays in the backlog, so waiting for the reactor would spin.
        return pause();
      }
      // Else that one connection was lost before it was accepted.
    }
    if (acceptor_.is_open()) wait();
  }

  void adopt(int fd, const sockaddr_storage& address, socklen_t size) {
    tcp::endpoint peer;
    peer.resize(size);
    std::memcpy(peer.data(), &address, size);
    tcp::socket socket(loop_.context());
    error_code ec;
    socket.assign(peer.protocol(), fd, ec);
    if (ec) {
      ::close(fd);
      return;
    }
    loop_.counters().accepted.fetch_add(1, std::memory_order_relaxed);
    on_accept_(adopt_socket(loop_, std::move(socket), endpoint_of(peer)));
  }

  void pause() {
    loop_.counters().accept_pauses.fetch_add(1, std::memory_order_relaxed);
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([self = shared_from_this()](const error_code& ec) {
      if (ec) return;
      self->loop_.enter();
      self->accept_some();
    });
  }

  LinuxLoop& loop_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  Net::OnAccept on_accept_;
};

/// Ports on which loops of this process share the incoming connections, with how many listen.
class SharedPorts {
 public:
  bool listens(uint16_t port) {
    std::scoped_lock lock(mutex_);
    return counts_.contains(port);
  }
  void add(uint16_t port) {
    std::scoped_lock lock(mutex_);
    counts_[port]++;
  }
  void remove(uint16_t port) {
    std::scoped_lock lock(mutex_);
    if (--counts_[port] == 0) counts_.erase(port);
  }

 private:
  std::mutex mutex_;
  std::map<uint16_t, int> counts_;
};

SharedPorts& shared_ports() {
  static SharedPorts ports;
  return ports;
}

class LinuxListener : public Listener {
 public:
  LinuxListener(std::shared_ptr<Acceptor> acceptor, Endpoint local, bool shared)
      : acceptor_(std::move(acceptor)), local_(std::move(local)), shared_(shared) {}
  ~LinuxListener() override { close(); }
  const Endpoint& local() const override { return local_; }
  void close() override {
    if (std::exchange(closed_, true)) return;
    acceptor_->close();
    if (shared_) shared_ports().remove(local_.port);
  }

 private:
  std::shared_ptr<Acceptor> acceptor_;
  Endpoint local_;
  bool shared_;
  bool closed_ = false;
};

/// Addresses that need no resolver: numbers, and localhost, which means loopback also where
/// /etc/hosts is missing (RFC 6761). Empty for other names.
std::vector<tcp::endpoint> known_addresses(const Endpoint& at) {
  if (at.host == "localhost") {
    return {{asio::ip::address_v4::loopback(), at.port},
            {asio::ip::address_v6::loopback(), at.port}};
  }
  error_code ec;
  const auto address = asio::ip::make_address(at.host, ec);
  if (ec) return {};
  return {{address, at.port}};
}

Result<tcp::endpoint> listen_address(LinuxLoop& loop, const Endpoint& at) {
  if (at.host.empty() || at.host == "0.0.0.0" || at.host == "::") {
    return tcp::endpoint(tcp::v6(), at.port);
  }
  if (const auto known = known_addresses(at); !known.empty()) return known.front();
  error_code ec;
  tcp::resolver resolver(loop.context());
  auto found = resolver.resolve(at.host, std::to_string(at.port),
                                tcp::resolver::passive | tcp::resolver::numeric_service, ec);
  if (ec || found.empty()) {
    return fail(Errc::kNotFound, fmt::format("{}: {}", at.host, ec.message()));
  }
  for (const auto& entry : found) {
    if (entry.endpoint().address().is_v4()) return entry.endpoint();
  }
  return found.begin()->endpoint();
}

/// An open, bound socket. Asio sets SO_REUSEADDR in neither step, so all options are ours.
error_code bind_to(tcp::acceptor& acceptor, const tcp::endpoint& at, bool shared) {
  error_code ec;
  acceptor.open(at.protocol(), ec);
  if (ec) return ec;
  acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (at.address().is_v6()) {
    acceptor.set_option(asio::ip::v6_only(!at.address().is_unspecified()), ec);
  }
  int one = 1;
  if (shared &&
      ::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) {
    return error_code(errno, boost::system::system_category());
  }
  acceptor.bind(at, ec);
  return ec;
}

}  // namespace

std::unique_ptr<Socket> adopt_socket(LinuxLoop& loop, tcp::socket socket, Endpoint peer) {
  error_code ignored;
  socket.native_non_blocking(true, ignored);
  socket.set_option(tcp::no_delay(true), ignored);
  return std::make_unique<LinuxSocket>(loop, std::move(socket), std::move(peer));
}

Result<std::unique_ptr<Listener>> open_listener(LinuxLoop& loop, const Endpoint& at,
                                                bool shared_port, const LinuxOptions& options,
                                                Net::OnAccept on_accept) {
  auto address = listen_address(loop, at);
  if (!address) return std::unexpected(address.error());
  auto failed = [&](const error_code& ec) {
    return os_error(ec.value(), fmt::format("listen on {}:{}", at.host, at.port));
  };
  tcp::acceptor acceptor(loop.context());
  if (shared_port && (at.port == 0 || !shared_ports().listens(at.port))) {
    // Without this, another process of the same user that also shares its port would simply get a
    // part of our connections, and we of its.
    error_code ec = bind_to(acceptor, *address, false);
    if (!ec) acceptor.listen(1, ec);
    if (ec == asio::error::address_family_not_supported) {
      address = tcp::endpoint(tcp::v4(), at.port);
      acceptor = tcp::acceptor(loop.context());
      ec = bind_to(acceptor, *address, false);
    }
    if (ec) return failed(ec);
    address->port(acceptor.local_endpoint(ec).port());
    acceptor = tcp::acceptor(loop.context());
  }
  error_code ec = bind_to(acceptor, *address, shared_port);
  if (ec == asio::error::address_family_not_supported) {  // no IPv6 here
    acceptor = tcp::acceptor(loop.context());
    ec = bind_to(acceptor, tcp::endpoint(tcp::v4(), address->port()), shared_port);
  }
  // What is accepted inherits them, and a client learns the window with the first packet.
  if (!ec && options.send_buffer >= 0)
    acceptor.set_option(tcp::socket::send_buffer_size(options.send_buffer), ec);
  if (!ec && options.receive_buffer >= 0)
    acceptor.set_option(tcp::socket::receive_buffer_size(options.receive_buffer), ec);
  if (!ec) acceptor.listen(options.listen_backlog, ec);
  if (!ec) acceptor.native_non_blocking(true, ec);
  tcp::endpoint local = ec ? tcp::endpoint() : acceptor.local_endpoint(ec);
  if (ec) return failed(ec);
  if (shared_port) shared_ports().add(local.port());
  auto accepting = std::make_shared<Acceptor>(loop, std::move(acceptor), std::move(on_accept));
  accepting->wait();
  return std::make_unique<LinuxListener>(std::move(accepting), Endpoint{at.host, local.port()},
                                         shared_port);
}

// ------------------------------------------------------------------------------------------------
// connecting

namespace {

/// Resolves, then tries one address after the other.
struct Connecting : std::enable_shared_from_this<Connecting> {
  using Done = Completion<Result<std::unique_ptr<Socket>>>;

  Connecting(LinuxLoop& l, Endpoint t, Done& d)
      : loop(l), to(std::move(t)), done(d), socket(l.context()), resolver(l.context()) {}

  void start() {
    if (const auto known = known_addresses(to); !known.empty()) {
      return connect(tcp::resolver::results_type::create(known.begin(), known.end(), to.host,
                                                         std::to_string(to.port)));
    }
    resolver.async_resolve(
        to.host, std::to_string(to.port), tcp::resolver::numeric_service,
        [self = shared_from_this()](const error_code& e, tcp::resolver::results_type found) {
          self->loop.enter();
          if (e) return self->failed(Errc::kNotFound, e);
          self->connect(found);
        });
  }

  void connect(const tcp::resolver::results_type& addresses) {
    asio::async_connect(
        socket, addresses,
        [self = shared_from_this()](const error_code& e, const tcp::endpoint& peer) {
          self->loop.enter();
          if (e) return self->failed(Errc::kIo, e);
          self->done.complete(adopt_socket(self->loop, std::move(self->socket), endpoint_of(peer)));
        });
  }

  void failed(Errc kind, const error_code& e) {
    done.complete(fail(kind, fmt::format("{}:{}: {}", to.host, to.port, e.message())));
  }

  LinuxLoop& loop;
  Endpoint to;
  Done& done;
  tcp::socket socket;
  tcp::resolver resolver;
};

}  // namespace

void connect_socket(LinuxLoop& loop, const Endpoint& to,
                    Completion<Result<std::unique_ptr<Socket>>>& done) {
  std::make_shared<Connecting>(loop, to, done)->start();
}

}  // namespace odradek::io
