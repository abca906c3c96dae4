#include "metadata/loader.h"

#include "wire/gen/abort_transaction_record.h"
#include "wire/gen/begin_transaction_record.h"
#include "wire/gen/end_transaction_record.h"

namespace odradek::metadata {

Loader::Loader(ImagePtr base)
    : shown_(base ? std::move(base) : std::make_shared<const Image>()),
      builder_(std::make_unique<ImageBuilder>(shown_)),
      last_(shown_->provenance) {}

Result<void> Loader::one(const Record& record) {
  switch (record.type) {
    case wire::BeginTransactionRecord::kRecordType:
      if (in_transaction_)
        return fail(Errc::kCorrupt, "a metadata transaction begins inside another");
      in_transaction_ = true;
      return {};
    case wire::EndTransactionRecord::kRecordType: {
      if (!in_transaction_)
        return fail(Errc::kCorrupt, "a metadata transaction ends before it begins");
      in_transaction_ = false;
      for (const Record& held : held_) {
        if (auto r = builder_->apply(held); !r) return r;
      }
      held_.clear();
      return {};
    }
    case wire::AbortTransactionRecord::kRecordType:
      if (!in_transaction_)
        return fail(Errc::kCorrupt, "a metadata transaction is aborted before it begins");
      in_transaction_ = false;
      held_.clear();
      return {};
    default:
      if (!in_transaction_) return builder_->apply(record);
      held_.push_back(record);
      return {};
  }
}

Result<void> Loader::batch(std::span<const Record> records, const Provenance& last) {
  for (const Record& record : records) {
    if (auto r = one(record); !r) return r;
  }
  last_ = last;
  moved_ = true;
  return {};
}

Result<void> Loader::snapshot(std::span<const Record> records, const Provenance& last) {
  builder_ = std::make_unique<ImageBuilder>();
  replaces_ = true;
  in_transaction_ = false;
  held_.clear();
  for (const Record& record : records) {
    if (auto r = builder_->apply(record); !r) return r;
  }
  last_ = last;
  moved_ = true;
  return {};
}

std::optional<Publication> Loader::take() {
  if (!moved_ || in_transaction_) return std::nullopt;
  builder_->set_provenance(last_);
  Publication p = replaces_ ? builder_->build_replacing(shown_) : builder_->build();
  replaces_ = false;
  moved_ = false;
  shown_ = p.image;
  return p;
}

}  // namespace odradek::metadata
