// The seam: everything the broker asks of the operating system. `io/linux` implements it over
// Boost.Asio, sockets and files; `sim` implements it in memory with virtual time and faults. No
// other room calls the operating system.
//
// Io owns one Disk and some Loops. A Loop is one thread's event loop with its Clock, Timers, Net
// and Random. Objects that live on a loop are used from that loop only; loops talk by `post`. Time
// stands still within one loop turn.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/task.h"

namespace odradek::io {

using Callback = std::move_only_function<void()>;

class Clock {
 public:
  virtual ~Clock() = default;
  /// Wall time. May jump; used for record timestamps and file ages only.
  virtual WallMs wall() const = 0;
  /// Monotonic time; constant within one loop turn.
  virtual MonoNs now() const = 0;
  /// Monotonic time read afresh, for latency histograms.
  virtual MonoNs precise() const = 0;
};

enum class TimerId : uint64_t { kNone = 0 };

class Timers {
 public:
  virtual ~Timers() = default;
  /// Calls back once on this loop, not before `delay`. The callback may start and cancel timers.
  virtual TimerId start(Millis delay, Callback callback) = 0;
  /// After this the callback is not called. A timer that has fired, or kNone, is ignored.
  virtual void cancel(TimerId id) = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t next() = 0;
  /// A version 4 uuid whose text does not begin with '-' and that is not one of the reserved ids.
  Uuid uuid();
};

// ----------------------------------------------------------------------------------------------
// disk

/// An open file. Positioned access only; no file pointer. Used from one thread at a time, but
/// `sync` and `read` on a SyncQueue's thread may overlap with reads and writes. Closed when the
/// last reference goes.
class File : public ByteSource, public std::enable_shared_from_this<File> {
 public:
  virtual const std::string& path() const = 0;
  /// Reads up to into.size() bytes from `position`; fewer only at the end of the file.
  virtual Result<size_t> read(uint64_t position, MutableBytes into) = 0;
  /// Writes all pieces one after the other at `position`, extending the file as needed. On error an
  /// unknown part of it may have been written (kNoSpace: the disk is full).
  virtual Result<void> write(uint64_t position, std::span<const ByteView> pieces) = 0;
  Result<void> write(uint64_t position, ByteView bytes) { return write(position, {&bytes, 1}); }
  virtual Result<uint64_t> size() = 0;
  /// Cuts or extends (with zeros) to `size` bytes.
  virtual Result<void> truncate(uint64_t size) = 0;
  /// fdatasync: blocks until what was written before the call is on the device. At start, stop and
  /// on roll only; while serving, use a SyncQueue.
  virtual Result<void> sync() = 0;
};

/// One of many writes (Io::write_all). The file and the bytes are the caller's.
struct FileWrite {
  File* file;
  uint64_t position;
  ByteView bytes;
  Result<void> result{};
};

enum class OpenMode {
  kRead,    // must exist
  kWrite,   // read and write; must exist
  kCreate,  // read and write; made if missing
  /// As kCreate, but what is written goes past the page cache where the file system can do that:
  /// position, size and memory are in whole blocks (kBlock).
  kCreateDirect,
};
constexpr size_t kBlock = 4096;

struct DirEntry {
  std::string name;
  bool is_directory = false;
  uint64_t size = 0;
};

/// Held until destroyed (`.lock` of a log directory; a POSIX record lock as Java's FileLock takes
/// it).
class DirLock {
 public:
  virtual ~DirLock() = default;
};

/// Blocking calls; may be used from any thread.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<std::vector<DirEntry>> list(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  /// Makes the directory and its missing parents; no error if it is there.
  virtual Result<void> make_directory(const std::string& path) = 0;
  /// Replaces `to` if it is a file.
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  /// A file, or an empty directory. No error if it is not there.
  virtual Result<void> remove(const std::string& path) = 0;
  /// A directory with everything in it. No error if it is not there.
  virtual Result<void> remove_tree(const std::string& path) = 0;
  /// Makes creations, renames and removals in a directory durable.
  virtual Result<void> sync_directory(const std::string& path) = 0;
  /// kExists when another process holds it.
  virtual Result<std::unique_ptr<DirLock>> lock(const std::string& path) = 0;
  struct Space {
    uint64_t total = 0;
    uint64_t free = 0;
  };
  virtual Result<Space> space(const std::string& path) = 0;
  /// Modification time of a file.
  virtual Result<WallMs> modified(const std::string& path) = 0;
  /// Sets it: what takes the place of an old file keeps its age.
  virtual Result<void> set_modified(const std::string& path, WallMs time) = 0;
};

class Loop;

/// Bytes that were appended to the end of a file; all before them are durable, there or in a
/// write-ahead file.
struct Appended {
  std::shared_ptr<File> file;
  uint64_t from = 0;  // positions in the file
  uint64_t to = 0;
  // What they belong to: the queue does not look at it, the write-ahead file keeps it.
  Uuid topic;
  PartitionIndex partition{0};
  Offset base{0};    // of the segment
  Offset before{0};  // log end offset in front of these bytes
  uint32_t crc = 0;  // of the batch in front of them
  /// SyncJob::bytes has a copy of them, behind those of the job's earlier ones.
  bool carried = false;
  /// Carried, and yet to be written to the file (SyncJob::written): of no use but for a write-ahead
  /// file. Without one, the round refuses them.
  bool unwritten = false;
  ByteView bytes{};  // the carried ones; set by the round
};

/// What a job wants of the write-ahead file, beside its bytes being durable.
enum class AheadOrder : uint8_t {
  kNone,
  kBegin,    // nothing of an earlier run is needed any more; from now on it may be used
  kNextLap,  // what it holds is to get into the files themselves soon
  kForget,   // files were cut: what it holds must never come back
};

/// Jobs of one owner whose unwritten bytes have been written to their files, counted.
using WrittenCount = std::shared_ptr<std::atomic<uint64_t>>;

struct SyncJob {
  std::vector<std::shared_ptr<File>> files;
  std::vector<Appended> appended;
  AheadOrder order = AheadOrder::kNone;
  ByteBuffer bytes{};
  /// With unwritten bytes: the owner writes them right after it has submitted the job, and then
  /// counts up to `job`. No later round begins before that.
  WrittenCount written{};
  uint64_t job = 0;
};

/// Where the appended bytes of a round are durable.
struct Synced {
  uint64_t lap = 0;      // in this lap of the write-ahead files; 0: in their files
  uint64_t flushed = 0;  // laps up to this one are in the files, too
  bool refused = false;  // what was unwritten is not durable: sync its files
};

/// Where a file has what a lap holds of it.
struct FileRange {
  std::shared_ptr<File> file;
  uint64_t from = 0;
  uint64_t to = 0;
};

/// A write of whole blocks that changes no file's size.
struct AheadWrite {
  std::shared_ptr<File> file;
  uint64_t position = 0;
  ByteView bytes;  // valid until it is over
};

/// The write-ahead files of one log directory: they take copies of small appends to many files, so
/// that one sync makes all of them durable. In laps: a lap is over when it is large, and its bytes
/// are then made durable where they belong while the next lap is written. Implemented by `log`,
/// used by the directory's SyncQueue, by one thread at a time.
class WriteAhead {
 public:
  virtual ~WriteAhead() = default;
  virtual Result<void> begin() = 0;
  /// Is it worth it for these, and is there room?
  virtual bool takes(const std::vector<Appended>& round) = 0;
  /// Copies and syncs. Returns the lap; kNoSpace: nothing was promised, sync the files.
  virtual Result<uint64_t> write(const std::vector<Appended>& round) = 0;
  /// What `write` would do, if that is one AheadWrite: to be written, made durable, and told to
  /// `wrote` before anything else is called. None: call `write`.
  virtual std::optional<AheadWrite> prepare(const std::vector<Appended>& round) = 0;
  /// Returns as `write`.
  virtual Result<uint64_t> wrote(const std::vector<Appended>& round,
                                 const Result<void>& result) = 0;
  virtual void next_lap() = 0;
  /// The files of a lap that is over, to be synced on another thread; none: no such lap, or that
  /// is under way. Then comes `flushed`.
  virtual std::vector<FileRange> over() = 0;
  virtual void flushed(const Result<void>& result) = 0;
  virtual uint64_t flushed_lap() const = 0;
  /// The first failure: from then on nothing that it, or a file that it looked after, says of the
  /// device can be believed.
  virtual Result<void> intact() const = 0;
  /// Files whose bytes are in laps that are not flushed.
  virtual std::vector<std::shared_ptr<File>> unflushed() = 0;
  /// They have been synced: nothing that the laps hold is needed, or may come back.
  virtual Result<void> forget() = 0;
};

/// What makes things durable in one log directory. Jobs run in rounds, one after another; a round
/// makes what its jobs name durable (one by one, with everything else on their file system if that
/// is cheaper, or by way of the write-ahead file) and then calls `done` with the first error on
/// `reply_to`, in a later turn. Call from that loop's thread.
class SyncQueue {
 public:
  virtual ~SyncQueue() = default;
  using Done = std::move_only_function<void(Result<Synced>)>;
  virtual void submit(SyncJob job, Loop& reply_to, Done done) = 0;
};

// -----------------------------------------------------------------------------------------------
// net

struct Endpoint {
  std::string host;
  uint16_t port = 0;
  bool operator==(const Endpoint&) const = default;
};

class Loop;

/// A connected stream on one loop. At most one read and one write are under way at a time.
/// Destroying it closes it; operations that are under way when it is closed complete with kClosed
/// before `close` returns or in a later turn.
class Socket {
 public:
  virtual ~Socket() = default;
  /// Reads at least one byte; 0 means that the peer has closed its side.
  virtual void start_read(MutableBytes into, Completion<Result<size_t>>& done) = 0;
  /// Writes everything. The chain must stay in place until completion.
  virtual void start_write(const Chain& chain, Completion<Result<void>>& done) = 0;
  virtual void close() = 0;
  virtual const Endpoint& peer() const = 0;
  /// The same connection for use on `loop`; this object is then only fit to be destroyed. Before
  /// the first read and write only (a listener hands accepted sockets to other loops with it).
  virtual std::unique_ptr<Socket> move_to(Loop& loop) = 0;

  /// `Result<size_t> n = co_await socket.read(buffer);`
  auto read(MutableBytes into) {
    struct Op {
      Socket& socket;
      MutableBytes into;
      Completion<Result<size_t>> done{};
      bool await_ready() {
        socket.start_read(into, done);
        return done.done();
      }
      void await_suspend(std::coroutine_handle<> h) { done.await_suspend(h); }
      Result<size_t> await_resume() { return done.await_resume(); }
    };
    return Op{*this, into};
  }
  /// `Result<void> r = co_await socket.write(chain);`
  auto write(const Chain& chain) {
    struct Op {
      Socket& socket;
      const Chain& chain;
      Completion<Result<void>> done{};
      bool await_ready() {
        socket.start_write(chain, done);
        return done.done();
      }
      void await_suspend(std::coroutine_handle<> h) { done.await_suspend(h); }
      Result<void> await_resume() { return done.await_resume(); }
    };
    return Op{*this, chain};
  }
};

/// A listening socket. Accepted sockets are handed over on the loop that listens.
class Listener {
 public:
  virtual ~Listener() = default;
  /// Where it listens, with the real port if 0 was asked for.
  virtual const Endpoint& local() const = 0;
  /// Stops accepting. `on_accept` is not called after this.
  virtual void close() = 0;
};

class Net {
 public:
  virtual ~Net() = default;
  using OnAccept = std::move_only_function<void(std::unique_ptr<Socket>)>;
  /// Listens (host "" or 0.0.0.0 or :: is every address) and accepts until closed; kExists if the
  /// port is in use. With `shared_port`, several loops may listen on the same port and the system
  /// spreads connections (SO_REUSEPORT).
  virtual Result<std::unique_ptr<Listener>> listen(const Endpoint& at, bool shared_port,
                                                   OnAccept on_accept) = 0;
  virtual void start_connect(const Endpoint& to,
                             Completion<Result<std::unique_ptr<Socket>>>& done) = 0;
};

// ---------------------------------------------------------------------------------------------
// loops

class Loop {
 public:
  virtual ~Loop() = default;
  virtual int index() const = 0;
  virtual Clock& clock() = 0;
  virtual Timers& timers() = 0;
  virtual Net& net() = 0;
  virtual Random& random() = 0;
  /// Calls back on this loop in a later turn. From any thread; posts of one thread arrive in order.
  virtual void post(Callback callback) = 0;
  /// Calls back when everything that is ready in this turn has run, before the loop waits. From
  /// this loop only.
  virtual void at_turn_end(Callback callback) = 0;
  /// Gives the system back what the process has freed. Takes milliseconds if that is much.
  virtual void release_memory() = 0;

  /// `co_await loop.hop();` goes on in a later turn of `loop`, wherever it was called.
  auto hop() {
    struct Op {
      Loop& loop;
      bool await_ready() { return false; }
      void await_suspend(std::coroutine_handle<> h) {
        loop.post([h] { h.resume(); });
      }
      void await_resume() {}
    };
    return Op{*this};
  }
  /// `co_await loop.sleep(ms);` on this loop.
  auto sleep(Millis delay) {
    struct Op {
      Loop& loop;
      Millis delay;
      bool await_ready() { return false; }
      void await_suspend(std::coroutine_handle<> h) {
        loop.timers().start(delay, [h] { h.resume(); });
      }
      void await_resume() {}
    };
    return Op{*this, delay};
  }
};

class Io {
 public:
  virtual ~Io() = default;
  virtual Disk& disk() = 0;
  virtual int loop_count() const = 0;
  virtual Loop& loop(int index) = 0;
  /// For one log directory; make it before anything is written there.
  virtual std::unique_ptr<SyncQueue> make_sync_queue(
      const std::string& directory, std::shared_ptr<WriteAhead> ahead = nullptr) = 0;
  /// Carries out all of them, each of another file, and fills in what became of them. Another
  /// thread may help with those that take long; all are over when this returns.
  virtual void write_all(std::span<FileWrite> writes);
  /// Runs `work` on a file thread (deleting large files, recovery, cold reads), then posts `done`
  /// to `reply_to`.
  virtual void background(Callback work, Loop& reply_to, Callback done) = 0;
};

}  // namespace odradek::io
