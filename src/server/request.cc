#include "server/request.h"

#include "base/check.h"
#include "server/dispatch.h"
#include "server/services.h"

namespace odradek::server {

namespace {
// What a pooled request may keep for its next use.
constexpr size_t kAnswerBufferKeptMax = 64 << 10;
}  // namespace

void Request::malformed(const Error& error) {
  close(fmt::format("malformed {} request version {}: {}", wire::name(api()), version(),
                    error.message));
}

wire::Writer& Request::begin_response(int16_t body_version) {
  ODRADEK_CHECK(!answered_);
  has_answer_ = true;
  wire::Writer& w = owner_->begin_answer(*this);
  mark_ = w.begin_frame();
  wire::ResponseHeader header;
  header.correlation_id = correlation_id();
  header.encode(w, wire::response_header_version(wire::api(api()), body_version));
  return w;
}

void Request::end_response(wire::Writer& writer) {
  writer.end_frame(mark_);
  if (writer.error()) {
    // The connection's output is worthless now. An answer that its version cannot carry is ours to
    // repair: the line names it.
    const std::string reason = fmt::format("cannot encode the answer of {} version {}: {}",
                                           wire::name(api()), version(), writer.error()->message);
    finish();
    return owner_->abort_connection(reason);
  }
  finish();
}

void Request::respond_body(ByteView body) {
  wire::Writer& w = begin_response(version());
  w.raw(body);
  end_response(w);
}

void Request::respond_nothing() {
  ODRADEK_CHECK(!answered_);
  finish();
}

void Request::close(std::string_view reason) {
  if (!answered_) finish();
  owner_->close_connection(reason);
}

void Request::finish() {
  answered_ = true;
  on_abandon_ = nullptr;
  release_frame();
  owner_->answered(*this);
}

void Request::release_order() {
  if (released_) return;
  released_ = true;
  owner_->order_released(*this);
}

void Request::release_frame() {
  if (frame_bytes_ == 0) return;
  body_ = {};
  header_.client_id.reset();
  frame_.reset();
  owner_->frame_released(*this, std::exchange(frame_bytes_, 0));
}

void Request::reset() {
  owner_ = nullptr;
  services_ = nullptr;
  entry_ = nullptr;
  next_ = nullptr;
  frame_.reset();
  frame_bytes_ = 0;
  body_ = {};
  header_ = {};
  arena_.reset();
  if (answer_.capacity() > kAnswerBufferKeptMax) {
    answer_ = wire::Writer();
  } else {
    answer_.clear();
  }
  kept_.clear();
  times_ = {};
  on_abandon_ = nullptr;
  pins_ = 0;
  has_answer_ = answer_is_apart_ = started_ = released_ = answered_ = abandoned_ = false;
}

}  // namespace odradek::server
