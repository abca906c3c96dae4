// ImageBuilder: the rules by which records change an image.
//
// Used by readers (through `loader.h`) and by the controller machine as its state: `image()` can be
// read after every record, `build()` gives an immutable copy without copying what it contains.
#pragma once

#include <map>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "metadata/delta.h"
#include "metadata/image.h"
#include "metadata/record.h"

namespace odradek::wire {
struct PartitionRecord;
struct PartitionChangeRecord;
}  // namespace odradek::wire

namespace odradek::metadata {

/// Partition state that a PartitionRecord says.
Partition to_partition(const wire::PartitionRecord& record);
/// The merge rule: only present fields change; the partition epoch grows by one always, the leader
/// epoch exactly when the record names a leader, even the same one.
Partition merge(const Partition& old, const wire::PartitionChangeRecord& change);

class ImageBuilder {
 public:
  /// Starts from `base`; null: from nothing.
  explicit ImageBuilder(ImagePtr base = nullptr);
  ImageBuilder(const ImageBuilder&) = delete;
  ImageBuilder& operator=(const ImageBuilder&) = delete;

  /// Applies one record. Begin, End and AbortTransaction change nothing here (loader.h). Errors:
  /// unknown type, a body that does not decode, a feature level that we do not support, something
  /// that is changed but does not exist; the image is then worthless.
  Result<void> apply(const Record& record);

  /// The state so far. Valid until the next `apply`.
  const Image& image() const { return image_; }
  void set_provenance(const Provenance& p) { image_.provenance = p; }
  /// An immutable copy of the state, and the difference to the last one (or the base). The builder
  /// goes on from there.
  Publication build();
  /// As `build`, but the image replaces `old` wholly, as a snapshot does: what it lacks was
  /// deleted. The builder must have started from nothing.
  Publication build_replacing(ImagePtr old);

 private:
  template <class T>
  Result<void> decode_and_apply(const Record& record);
  template <class T>
  Result<void> on(const T& record);

  Topic* own_topic(const Uuid& id);
  Broker* own_broker(BrokerId id);
  void remember_topic(const Uuid& id);
  void set_config(ResourceType type, std::string_view resource, std::string_view name,
                  std::optional<std::string_view> value);
  void erase_configs(ResourceType type, std::string_view resource);
  void clear_elr(Topic& topic);

  Image image_;
  ImagePtr base_;
  std::shared_ptr<Delta> delta_;
  EditToken token_;
  // Topics and brokers that were copied since the last build and may be changed in place.
  std::map<Uuid, std::shared_ptr<Topic>> owned_topics_;
  std::map<BrokerId, std::shared_ptr<Broker>> owned_brokers_;
};

}  // namespace odradek::metadata
