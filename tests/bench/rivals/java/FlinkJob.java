package liveshop.bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.WindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/**
 * Counts by session and 1-minute window, each window written once when it is closed; exactly once, a checkpoint each
 * second, state on the heap.
 *
 * <p>Arguments: brokers, group, output topic, folder for the checkpoints, parallelism, whether to drop exact repeats,
 * input topics. A local cluster: job manager and task manager live in this process.
 */
public final class FlinkJob {
    private FlinkJob() { }

    public static void main(String[] arguments) throws Exception {
        int parallelism = Integer.parseInt(arguments[4]);
        boolean deduplicate = Boolean.parseBoolean(arguments[5]);
        StreamExecutionEnvironment environment =
            StreamExecutionEnvironment.createLocalEnvironment(parallelism, settings(arguments[3]));
        environment.enableCheckpointing(1000); // exactly once, unless told otherwise
        environment.getConfig().enableObjectReuse();
        environment
            .fromSource(source(arguments), WatermarkStrategy.<Event>forBoundedOutOfOrderness(Duration.ofSeconds(10))
                .withTimestampAssigner((event, before) -> event.time), "events")
            .keyBy(event -> event.session)
            .window(TumblingEventTimeWindows.of(Duration.ofMinutes(1)))
            .aggregate(new Counting(deduplicate), new Writing(), countsType(), PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO)
            .sinkTo(sink(arguments));
        environment.execute("liveshop-bench");
    }

    private static Configuration settings(String checkpoints) {
        Configuration settings = new Configuration();
        settings.set(StateBackendOptions.STATE_BACKEND, "hashmap");
        settings.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
        settings.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + checkpoints);
        return settings;
    }

    private static KafkaSource<Event> source(String[] arguments) {
        return KafkaSource.<Event>builder()
            .setBootstrapServers(arguments[0])
            .setGroupId(arguments[1])
            .setTopics(new ArrayList<>(List.of(arguments).subList(6, arguments.length)))
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setProperty("isolation.level", "read_committed")
            .setValueOnlyDeserializer(new Reading())
            .build();
    }

    private static KafkaSink<byte[]> sink(String[] arguments) {
        return KafkaSink.<byte[]>builder()
            .setBootstrapServers(arguments[0])
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(arguments[1])
            .setProperty("transaction.timeout.ms", "60000")
            .setRecordSerializer(KafkaRecordSerializationSchema.<byte[]>builder()
                .setTopic(arguments[2])
                .setValueSerializationSchema(value -> value)
                .build())
            .build();
    }

    /** Named field by field, or the set of ids would go through Kryo, which is slower. */
    private static TypeInformation<Counts> countsType() {
        return Types.POJO(Counts.class, Map.of(
            "views", Types.LONG, "productClicks", Types.LONG, "comments", Types.LONG, "ordersPaid", Types.LONG,
            "gmv", Types.LONG, "ids", Types.MAP(Types.LONG, Types.BOOLEAN)));
    }

    /** JSON to events. */
    public static final class Reading extends AbstractDeserializationSchema<Event> {
        @Override
        public Event deserialize(byte[] value) {
            return Event.parse(value);
        }
    }

    /** An exact repeat has the same event time, so the ids of the window are enough to know it. */
    public static final class Counting implements AggregateFunction<Event, Counts, Counts> {
        private final boolean deduplicate;

        public Counting(boolean deduplicate) {
            this.deduplicate = deduplicate;
        }

        @Override
        public Counts createAccumulator() {
            return new Counts();
        }

        @Override
        public Counts add(Event event, Counts counts) {
            return !deduplicate || counts.isNew(event) ? counts.add(event) : counts;
        }

        @Override
        public Counts getResult(Counts counts) {
            return counts;
        }

        @Override
        public Counts merge(Counts one, Counts other) {
            throw new UnsupportedOperationException("tumbling windows do not merge");
        }
    }

    /** The record of a closed window. */
    public static final class Writing implements WindowFunction<Counts, byte[], String, TimeWindow> {
        @Override
        public void apply(String session, TimeWindow window, Iterable<Counts> counts, Collector<byte[]> out) {
            out.collect(counts.iterator().next().toJson(session, window.getStart()));
        }
    }
}
